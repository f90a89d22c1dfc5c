"""Backbones: the published sizes, and clear refusals."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from longtail.errors import LongtailError
from longtail.models import (
    CosineLinear,
    Network,
    build_backbone,
    multiply_adds,
    normalize,
)


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


def test_a_timm_model_gives_features():
    backbone = build_backbone("resnet10t")
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, backbone.num_features)


def test_an_unknown_model_names_its_neighbours():
    with pytest.raises(LongtailError, match="resnet50"):
        build_backbone("resnet5O")


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
