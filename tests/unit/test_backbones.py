"""Backbones: the published sizes, and clear refusals."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from longtail.backbones.building import build_backbone, feature_dimension
from longtail.backbones.freezing import freeze, layer_group_count, rest
from longtail.backbones.images import multiply_adds, normalize, require_image_size
from longtail.errors import LongtailError
from longtail.network import CosineLinear, Network


@pytest.mark.parametrize(("classes", "parameters"), [(10, 464_154), (100, 470_004)])
def test_resnet32_has_the_published_size(classes, parameters):
    network = Network(build_backbone("cifar_resnet32"), nn.Linear(64, classes))
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_resnet32_costs_the_published_multiply_adds():
    cost = multiply_adds(build_backbone("cifar_resnet32"), image_size=32)
    assert cost == pytest.approx(68.9e6, rel=0.002)


def test_counting_multiply_adds_changes_nothing():
    backbone = build_backbone("cifar_resnet32").train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    multiply_adds(backbone, image_size=16)
    assert backbone.training
    assert all(v.equal(before[k]) for k, v in backbone.state_dict().items())


def test_normalize_is_the_textbook_formula_in_channels_last():
    images = torch.randint(0, 256, (2, 4, 4, 3), dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    out = normalize(images, mean=mean, std=std)
    assert out.is_contiguous(memory_format=torch.channels_last)
    for channel in range(3):
        expected = (images[..., channel] / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(out[:, channel], expected)


def test_cosine_head_is_bounded_and_ignores_length():
    head = CosineLinear(8, 5)
    x = torch.randn(6, 8)
    assert head(x).abs().max() <= 1 + 1e-6
    torch.testing.assert_close(head(x), head(17 * x))


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("cifar_resnet32_nf64", 32),
        ("resnet50", 32),
        ("resnext50_32x4d", 32),
        ("mobilenetv2_100", 32),
        ("mobilenetv3_small_100", 32),  # its last layer widens the features
        ("convnext_tiny", 32),
        ("vit_base_patch16_224", 224),
    ],
)
def test_the_papers_backbones_give_features_of_the_stated_dimension(name, side):
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, side, side))
    assert features.shape == (1, feature_dimension(backbone))


def test_layer_groups_are_the_stem_and_the_stages():
    assert layer_group_count(build_backbone("cifar_resnet32")) == 4
    assert layer_group_count(build_backbone("resnet50")) == 5


@pytest.mark.parametrize("name", ["cifar_resnet32", "resnet10t"])
def test_frozen_groups_keep_weights_and_statistics(name):
    backbone = build_backbone(name)
    freeze(backbone, groups=2)
    backbone.train()
    rest(backbone)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1, weight_decay=0.1)
    backbone(torch.randn(4, 3, 32, 32)).sum().backward()
    optimizer.step()
    moved = {k for k, v in backbone.state_dict().items() if not v.equal(before[k])}
    frozen = {n for n, p in backbone.named_parameters() if not p.requires_grad}
    assert moved and frozen and not moved & frozen
    stem = next(iter(before)).split(".")[0]
    assert not any(name.startswith((f"{stem}.", "bn1.")) for name in moved)


def test_a_frozen_parameter_of_the_whole_lets_its_trained_parts_train():
    """The class token of a transformer is in the stem's group, but no part of the stem."""
    backbone = build_backbone("xcit_nano_12_p16_224")
    freeze(backbone, groups=1)
    backbone.train()
    rest(backbone)
    assert not backbone.cls_token.requires_grad
    assert not any(module.training for module in backbone.patch_embed.modules())
    assert all(module.training for module in backbone.blocks.modules())


def test_more_groups_than_there_are_is_an_error():
    with pytest.raises(LongtailError, match=r"frozen_groups is 9.*4 layer groups"):
        freeze(build_backbone("cifar_resnet32"), groups=9)


def test_logits_keep_their_precision_under_autocast():
    """Of bfloat16 logits near 1 many would be equal: its steps are 1/128 there."""
    network = Network(nn.Flatten(), nn.Linear(12, 1000))
    nn.init.constant_(network.head.weight, 0.0)
    network.head.bias.data = torch.linspace(1.0, 1.5, 1000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.ones(1, 3, 2, 2))
    assert len(logits.unique()) == 1000


def test_an_unknown_model_names_its_neighbours():
    with pytest.raises(LongtailError, match="resnet50"):
        build_backbone("resnet5O")


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("resnet18.nonsense", None, r"resnet18 has no weights called 'nonsense'; name .*a1_in1k"),
        ("resnet18.nonsense", "hub", r"resnet18 has no weights called 'nonsense'"),
        ("coatnet_0_224.nonsense", None, r"'nonsense'; it has none: name coatnet_0_224 alone"),
        ("coatnet_0_224", "hub", r"coatnet_0_224 has no weights there; .*or null"),
        ("cifar_resnet32", "hub", r"cifar_resnet32 has no weights there; .*or null"),
        ("timm/resnet18", None, "no model is called 'timm/resnet18'"),
    ],
)
def test_weights_that_nobody_has_are_refused(name, pretrained, message):
    with pytest.raises(LongtailError, match=message):
        build_backbone(name, pretrained=pretrained)


@pytest.mark.parametrize(
    ("name", "side"), [("vit_tiny_patch16_224", 32), ("convnext_atto", 8)], ids=str
)
def test_a_size_that_a_backbone_cannot_take_is_refused(name, side):
    with pytest.raises(LongtailError, match=f"image_size is {side}, which the backbone {name}"):
        require_image_size(build_backbone(name), name=name, image_size=side)


def test_trying_an_image_size_changes_nothing():
    backbone = build_backbone("cifar_resnet32").train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    random = torch.get_rng_state()
    require_image_size(backbone, name="cifar_resnet32", image_size=8)
    assert backbone.training and torch.get_rng_state().equal(random)
    assert all(v.equal(before[k]) for k, v in backbone.state_dict().items())


def test_local_weights_are_loaded(tmp_path):
    source = build_backbone("cifar_resnet32")
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    loaded = build_backbone("cifar_resnet32", pretrained=str(tmp_path / "weights.safetensors"))
    assert loaded.state_dict()["conv1.weight"].equal(source.state_dict()["conv1.weight"])


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "few.safetensors")
    with pytest.raises(LongtailError, match="lacks"):
        build_backbone("cifar_resnet32", pretrained=str(tmp_path / "few.safetensors"))
    with pytest.raises(LongtailError, match="does not exist"):
        build_backbone("cifar_resnet32", pretrained=str(tmp_path / "none.safetensors"))
    save_file(build_backbone("cifar_resnet32_nf64").state_dict(), tmp_path / "wide.safetensors")
    with pytest.raises(LongtailError, match=r"shape \[64.*, the backbone of shape \[16"):
        build_backbone("cifar_resnet32", pretrained=str(tmp_path / "wide.safetensors"))


def test_files_that_are_no_safetensors_are_refused(tmp_path):
    torch.save(build_backbone("cifar_resnet32").state_dict(), tmp_path / "weights.pth")
    save_file(build_backbone("cifar_resnet32").state_dict(), tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(
        (tmp_path / "whole.safetensors").read_bytes()[:100_000]
    )
    for name in ("weights.pth", "cut.safetensors"):
        with pytest.raises(LongtailError, match=f"{name} is no safetensors file, or a part"):
            build_backbone("cifar_resnet32", pretrained=str(tmp_path / name))
