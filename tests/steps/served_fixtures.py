"""Models as the registry holds them, with known heads, and directories of images to score."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from longtail.backbones.building import build_backbone
from longtail.backbones.images import normalize
from longtail.heads import Head
from longtail.io.export import save_model
from longtail.predictor import Facts
from longtail.serving import ServedModel, assumed_prior
from tests.steps.ingest_fixtures import encode, picture, write_tree

SIZE = 8
CLASSES = ["ant", "bee", "cat", "dog"]
COUNTS = [200, 100, 30, 10]
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
FILES = ["a/0.png", "a/1.png", "b/deep/2.png", "z.png"]


def backbone() -> torch.nn.Module:
    """A random network, the same at every call."""
    torch.manual_seed(0)
    return build_backbone("cifar_resnet32").eval().requires_grad_(False)


def head(classes: int, *, seed: int = 1, **settings: Any) -> Head:
    """Random rows, small enough that no class is certain."""
    generator = torch.Generator().manual_seed(seed)
    return Head("linear", 0.05 * torch.randn(classes, 64, generator=generator), **settings)


def facts(**changes: Any) -> Facts:
    known: dict[str, Any] = {
        "chosen": "stage1",
        "classes": CLASSES,
        "groups": ["many", "medium", "medium", "few"],
        "super_classes": [],
        "super_of": [],
        "class_counts": COUNTS,
        "prior": assumed_prior(COUNTS, balanced=False),
        "rejects": False,
        "image_size": SIZE,
        "mean": list(MEAN),
        "std": list(STD),
    }
    return Facts(**(known | changes))


def write_model(
    root: Path, *, own_head: Head | None = None, above: Head | None = None, **changes: Any
) -> Path:
    """Write the directory of a registered model; `changes` are those of its facts."""
    model = ServedModel(
        backbone(), own_head or head(len(CLASSES)), mean=MEAN, std=STD, above=above
    ).eval()
    save_model(str(root), model=model, facts=facts(**changes), files=[])
    return root


def write_images(root: Path) -> Path:
    """Write four pictures of the model's size and a file that is none, `a/broken.png`."""
    pictures = {name: encode(picture(seed, side=SIZE)) for seed, name in enumerate(FILES)}
    return write_tree(root, {**pictures, "a/broken.png": pictures["z.png"][:-20]})


def expected_logits(pixels: np.ndarray, own_head: Head | None = None) -> np.ndarray:
    """What backbone and head say, without serving or export."""
    images = normalize(torch.tensor(pixels), mean=MEAN, std=STD)
    with torch.no_grad():
        return (own_head or head(len(CLASSES))).logits(backbone()(images)).numpy()
