"""A small trained flow up to `tau_norm`, written by the artifacts' contract."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file

from longtail.artifacts import (
    SHARD_SCHEMA,
    SPLIT_SCHEMA,
    Classifier,
    Images,
    Representation,
    TauNorm,
)
from longtail.artifacts import Split as SplitFiles
from longtail.backbones.building import build_backbone
from longtail.backbones.images import normalize
from longtail.files import file_digest, write_json
from longtail.heads import Head
from longtail.io.head_files import save_heads
from tests.steps.artifact_fixtures import (
    MEAN,
    SIZE,
    STD,
    choice,
    stage1_description,
    stage2_description,
)


@dataclass(frozen=True)
class Flow:
    """Paths as `evaluate` takes them, and the test images as an array for other routes."""

    inputs: dict[str, Path]
    pixels: np.ndarray
    labels: np.ndarray


def make_flow(
    root: Path,
    *,
    train: list[int],
    test: list[int],
    group_names: tuple[str, ...],
    hostile_name: str | None = None,
) -> Flow:
    """Noisy single-colour images, a random backbone, and heads of class means.

    Classes with more than 100 training images are in the first group, with fewer than 20 in the
    last, others in the second. `hostile_name` becomes the name of class 0.
    """
    rng = np.random.default_rng(0)
    names = [f"class-{label}" for label in range(len(train))]
    names[0] = hostile_name or names[0]
    labels = np.repeat(np.arange(len(test)), test)
    pixels = _pixels(rng, labels, len(test))
    images, split = Images(root / "images"), SplitFiles(root / "split")
    _write_images(images, split, pixels, labels)
    _write_profile(split, names, train, test, group_names)
    _write_models(root, split, rng, train, group_names)
    return Flow(
        inputs={
            "images": images.root,
            "test": split.test,
            "profile": split.profile,
            "representation": root / "representation",
            "classifier": root / "classifier",
            "tau_norm": root / "tau_norm",
        },
        pixels=pixels,
        labels=labels,
    )


def _pixels(rng: np.random.Generator, labels: np.ndarray, classes: int) -> np.ndarray:
    hues = np.random.default_rng(7).uniform(40, 215, size=(classes, 3))
    noise = rng.normal(0, 25, size=(len(labels), SIZE, SIZE, 3))
    return np.clip(hues[labels][:, None, None] + noise, 0, 255).astype(np.uint8)


def _write_images(
    images: Images, split: SplitFiles, pixels: np.ndarray, labels: np.ndarray
) -> None:
    images.root.mkdir(parents=True)
    split.root.mkdir()
    encoded = [_png(image) for image in pixels]
    table = pa.table({"bytes": pa.array(encoded, pa.binary())}, schema=SHARD_SCHEMA)
    with pa.OSFile(str(images.shard(0)), "wb") as file, pa.ipc.new_file(file, SHARD_SCHEMA) as to:
        to.write_table(table)
    n = len(labels)
    columns = {
        "index": np.arange(n),
        "id": [f"{i:064x}" for i in range(n)],
        "shard": np.zeros(n, np.int32),
        "row": np.arange(n, dtype=np.int32),
        "label": labels.astype(np.int32),
    }
    pq.write_table(pa.table(columns, schema=SPLIT_SCHEMA), split.test)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _write_profile(
    split: SplitFiles,
    names: list[str],
    train: list[int],
    test: list[int],
    group_names: tuple[str, ...],
) -> None:
    classes = [
        {
            "name": name,
            "super_label": None,
            "train": n,
            "planned": n,
            "val": 3,
            "test": m,
            "group": group_names[0 if n > 100 else 2 if n < 20 else 1],
        }
        for name, n, m in zip(names, train, test, strict=True)
    ]
    profile = {
        "law": "exp",
        "imbalance_factor": max(train) / min(train),
        "seed": 0,
        "manifest": "0" * 64,
        "val_source": "3 images a class, taken from the training pool before the law",
        "test_source": "held out of all images",
        "group_names": list(group_names),
        "duplicates": {"moved": 0, "dropped": 0, "across": 0},
        "classes": classes,
        "requested": {"law": "exp", "imbalance_factor": max(train) / min(train)},
    }
    write_json(split.profile, profile)


def _write_models(
    root: Path,
    split: SplitFiles,
    rng: np.random.Generator,
    train: list[int],
    group_names: tuple[str, ...],
) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("cifar_resnet32").eval()
    representation = Representation(root / "representation")
    representation.root.mkdir()
    save_file(backbone.state_dict(), representation.backbone)
    description = stage1_description(
        classes=[f"class-{label}" for label in range(len(train))],
        class_counts=train,
        groups=[],
        group_names=group_names,
        split=file_digest(split.profile),
    )
    write_json(representation.description, description)
    write_json(representation.history, _history(epochs=12, start=2.5))

    labels = np.repeat(np.arange(len(train)), 40)
    heads = _heads(backbone, _pixels(rng, labels, len(train)), labels, torch.tensor(train))
    tau_norm = TauNorm(root / "tau_norm")
    tau_norm.root.mkdir()
    save_heads(tau_norm.heads, heads)
    write_json(tau_norm.choice, choice())
    write_json(tau_norm.curve, _curve())

    classifier = Classifier(root / "classifier")
    classifier.root.mkdir()
    write_json(classifier.description, stage2_description())
    write_json(classifier.history, _history(epochs=5, start=1.2))


def _heads(
    backbone: torch.nn.Module, pixels: np.ndarray, labels: np.ndarray, counts: torch.Tensor
) -> dict[str, Head]:
    """Ridge regressions on one-hot labels; `stage1` weighs classes by their counts."""
    with torch.no_grad():
        features = backbone(normalize(torch.from_numpy(pixels), mean=MEAN, std=STD)).double()
    x = torch.cat([features, torch.ones(len(features), 1)], dim=1)  # [N, D + 1]
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels)).double()  # [N, C]

    def ridge(power: float) -> Head:
        weights = (counts / counts.max())[labels][:, None] ** power
        gram = x.T @ (weights * x) + 1e-6 * torch.eye(x.shape[1])
        solved = 12 * torch.linalg.solve(gram, x.T @ (weights * targets)).T.float()
        return Head("linear", solved[:, :-1].contiguous(), solved[:, -1].contiguous())

    return {"stage1": ridge(1.0), "stage1_tau": ridge(0.4), "stage2": ridge(0.0)}


def _curve() -> list[dict[str, Any]]:
    return [
        {
            "head": "stage1",
            "tau": round(0.1 * step, 1),
            "val_accuracy": 0.6 - 0.01 * step,
            "val_balanced_accuracy": 0.6 - 0.004 * (step - 7) ** 2,
        }
        for step in range(21)
    ]


def _history(*, epochs: int, start: float) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "learning_rate": 0.1,
            "train_loss": start / (epoch + 1),
            "train_accuracy": 1 - 0.8 / (epoch + 1),
            "val_loss": 1.2 * start / (epoch + 1) + 0.1,
            "val_accuracy": 0.9 - 0.7 / (epoch + 1),
            "val_balanced_accuracy": 0.85 - 0.7 / (epoch + 1),
        }
        for epoch in range(epochs)
    ]
