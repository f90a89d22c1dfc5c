"""The registered model is the evaluated one, for any number of images."""

import pytest
import torch
from torch.export import Dim

from longtail.backbones.building import build_backbone
from longtail.backbones.images import normalize
from longtail.heads import Head
from longtail.serving import ServedModel, assumed_prior, example_images

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SIZE, CLASSES = 16, 7


def heads() -> dict[str, Head]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(CLASSES, 64, generator=generator)
    bias, center = torch.randn(CLASSES, generator=generator), torch.randn(64, generator=generator)
    return {
        "linear": Head("linear", weight, bias),
        "tau": Head("linear", weight),
        "cosine": Head("cosine", weight, scale=16.0),
        "ncm": Head("ncm", weight, center=center, normalize=True),
    }


def images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def backbone() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_backbone("cifar_resnet32").eval()


@pytest.mark.parametrize("kind", ["linear", "tau", "cosine", "ncm"])
def test_exported_program_gives_the_logits_of_backbone_and_head(backbone, kind):
    head = heads()[kind]
    model = ServedModel(backbone, head, mean=MEAN, std=STD).eval()
    program = torch.export.export(
        model, (example_images(SIZE),), dynamic_shapes=[{0: Dim.AUTO}]
    ).module()
    for count in (1, 2, 5):
        pixels = images(count)
        with torch.no_grad():
            expected = head.logits(backbone(normalize(pixels, mean=MEAN, std=STD)))
            found = program(pixels)
        assert found.shape == (count, CLASSES) and found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_head_is_part_of_the_state():
    model = ServedModel(torch.nn.Identity(), heads()["ncm"], mean=MEAN, std=STD)
    assert set(model.state_dict()) == {"scale", "shift", "head.weight", "head.center"}


def test_another_image_size_is_refused(backbone):
    model = ServedModel(backbone, heads()["tau"], mean=MEAN, std=STD).eval()
    program = torch.export.export(
        model, (example_images(SIZE),), dynamic_shapes=[{0: Dim.AUTO}]
    ).module()
    with pytest.raises(AssertionError, match="Guard failed"):
        program(torch.zeros(2, SIZE * 2, SIZE, 3, dtype=torch.uint8))


def test_the_second_output_is_of_the_head_of_super_classes(backbone):
    above = Head("linear", torch.randn(2, 64, generator=torch.Generator().manual_seed(1)))
    model = ServedModel(backbone, heads()["linear"], mean=MEAN, std=STD, above=above).eval()
    with torch.no_grad():
        features = backbone(normalize(images(3), mean=MEAN, std=STD))
        logits, super_logits = model(images(3))
    assert torch.equal(logits, heads()["linear"].logits(features))
    assert torch.equal(super_logits, above.logits(features))


def test_a_balanced_model_assumes_equal_shares_of_what_it_has_seen():
    assert assumed_prior([30, 10, 0, 10], balanced=False) == [0.6, 0.2, 0.0, 0.2]
    assert assumed_prior([30, 10, 0, 20], balanced=True) == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
