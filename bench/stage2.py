"""Stage 2 on cached features against stage 2 through the backbone; 21 taus against one."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from longtail.artifacts import Features, Representation
from longtail.backbones.building import build_backbone
from longtail.config.stage2 import ClassifyConfig, TauNormConfig
from longtail.files import write_json
from longtail.heads import Head
from longtail.io.head_files import save_heads
from longtail.stage2 import Labelled, Training, crt
from longtail.steps.classify import classify
from longtail.steps.tau_norm import tau_norm
from longtail.tau_norm import tau_curve, tau_grid

IMAGES, DIMENSION, CLASSES, EPOCHS, BATCH = 10_847, 64, 100, 10, 128
MEASURED_BATCHES = 6
VAL = 1980  # as many as the CIFAR-100-LT preset has
IMAGENET_LT = (20_000, 2048, 1000)  # images of val, dimension, classes


def run() -> dict[str, float]:
    """Return the speed-ups of caching and the cost of a grid of taus.

    Both ways of stage 2 are 10 epochs over as many images as CIFAR-100-LT has; what goes through
    the backbone (ResNet-32, 32x32) is measured on a few batches and multiplied.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    features = torch.randn(1, IMAGES, DIMENSION, generator=generator)
    data = Labelled(features, labels)
    forward = _forward_seconds() * IMAGES / BATCH  # of all images, once
    head = _seconds(lambda: _crt(data, generator))
    sweep, alone = _all_heads()
    return {
        "stage2_seconds_on_cached_features": head,
        "embedding_seconds": forward,
        "through_backbone_over_cached": (EPOCHS * forward + head) / head,
        "through_backbone_over_cached_with_embedding": (EPOCHS * forward + head) / (forward + head),
        "all_heads_seconds": sweep,
        "all_heads_over_crt": sweep / alone,
        "21_taus_over_1_tau_cifar100_lt": _tau_ratio(VAL, DIMENSION, CLASSES),
        "21_taus_over_1_tau_imagenet_lt": _tau_ratio(*IMAGENET_LT),
        "21_taus_over_2_taus_whole_step_cifar100_lt": _step_ratio(21, 2),
    }


def _tau_ratio(images: int, dimension: int, classes: int) -> float:
    """Cost of predicting val with 21 taus over that with one, both taken in turn."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(images, dimension, generator=generator)
    weight = torch.randn(classes, dimension, generator=generator)
    grid = tau_grid(max_tau=2.0, steps=21)

    def cost(taus: list[float]) -> float:
        return _seconds(lambda: tau_curve(features, weight, taus=taus))

    pairs = [(cost(grid), cost(grid[7:8])) for _ in range(9)]
    return min(many for many, _ in pairs) / min(one for _, one in pairs)


def _step_ratio(steps: int, fewest: int) -> float:
    """Cost of the step `tau_norm`, files in and files out, on two grids, taken in turn."""
    with tempfile.TemporaryDirectory() as directory:
        representation, features = _artifacts(Path(directory))
        classifier = Path(directory) / "classifier"
        classify(
            ClassifyConfig(epochs=1),
            features=features.root,
            representation=representation.root,
            out=classifier,
        )

        def step(size: int) -> None:
            tau_norm(
                TauNormConfig(steps=size),
                features=features.root,
                representation=representation.root,
                classifier=classifier,
                out=Path(directory) / "out",
            )

        step(fewest)  # imports what is imported late
        pairs = [(_seconds(lambda: step(steps)), _seconds(lambda: step(fewest))) for _ in range(9)]
        return min(many for many, _ in pairs) / min(few for _, few in pairs)


def _all_heads() -> tuple[float, float]:
    """Seconds of the step `classify` with all heads, and with cRT alone."""
    with tempfile.TemporaryDirectory() as directory:
        representation, features = _artifacts(Path(directory))

        def step(method: Literal["sweep", "crt"]) -> None:
            classify(
                ClassifyConfig(method=method),
                features=features.root,
                representation=representation.root,
                out=Path(directory) / "out",
            )

        return _seconds(lambda: step("sweep")), _seconds(lambda: step("crt"))


def _artifacts(root: Path) -> tuple[Representation, Features]:
    """Write a stage-1 head, and features of train and val, of CIFAR-100-LT's size."""
    generator = torch.Generator().manual_seed(0)
    representation, features = Representation(root / "representation"), Features(root / "features")
    representation.root.mkdir()
    weight = torch.randn(CLASSES, DIMENSION, generator=generator)
    save_heads(representation.head, {"stage1": Head("linear", weight, torch.zeros(CLASSES))})
    counts = [max(5, round(500 * 0.01 ** (label / (CLASSES - 1)))) for label in range(CLASSES)]
    said = {"keeps_prior": True, "follows_counts": True}
    description = {"classes": [*range(CLASSES)], "class_counts": counts, **said}
    write_json(representation.description, description)
    features.root.mkdir()
    write_json(features.description, {"test_time_flip": False})
    for part, images in (("train", IMAGES), ("val", VAL)):
        drawn = torch.randn(1, images, DIMENSION, generator=generator)
        np.save(features.features(part), drawn.numpy())
        np.save(features.labels(part), torch.arange(images).remainder(CLASSES).numpy())
    return representation, features


def _forward_seconds() -> float:
    """Seconds of one batch through the frozen backbone."""
    backbone = build_backbone("cifar_resnet32").eval().to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        backbone(images)
        return _seconds(lambda: [backbone(images) for _ in range(MEASURED_BATCHES)]) / (
            MEASURED_BATCHES
        )


def _crt(data: Labelled, generator: torch.Generator) -> object:
    return crt(
        data,
        data,
        num_classes=CLASSES,
        training=Training(
            epochs=EPOCHS,
            batch_size=BATCH,
            learning_rate=0.1,
            weight_decay=5e-4,
            sampler="class_balanced",
            generator=generator,
        ),
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
