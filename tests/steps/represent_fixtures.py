"""Inputs of stage 1 on a few digits, and what is looked at in its results."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from longtail.artifacts import Images, Representation, Split
from longtail.backbones.images import normalize
from longtail.config.represent import RepresentConfig
from longtail.data import ImageStore
from longtail.extraction import load_backbone
from longtail.files import file_digest, write_json
from longtail.io.head_files import load_heads
from longtail.stage2 import Labelled, val_metrics
from tests.steps.validate_fixtures import digits, write_artifacts


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("represent")
    images, split = write_artifacts(root, digits())
    tables = Split(split)
    seal = root / "passed.json"
    write_json(seal, {"split": file_digest(tables.profile)})
    return {
        "images": images,
        "train": tables.train,
        "val": tables.val,
        "profile": tables.profile,
        "validation": seal,
    }


def config(**changes: Any) -> RepresentConfig:
    small = {
        "image_size": 8,
        "epochs": 2,
        "batch_size": 8,
        "warmup_epochs": 0,
        "schedule": "cosine",
        "learning_rate": 0.02,
    }
    return RepresentConfig(**{**small, **changes})


def judged_again(out: Path, inputs: dict[str, Path]) -> dict[str, float]:
    """What the artifact's backbone and head say of val, as stage 2 measures it."""
    backbone, description = load_backbone(Representation(out))
    store = ImageStore(Images(inputs["images"]), inputs["val"], size=8)
    pixels = torch.cat(list(store.batches(64)))
    features = backbone(normalize(pixels, mean=description["mean"], std=description["std"]))
    head = load_heads(Representation(out).head)["stage1"]
    return val_metrics(head, Labelled(features[None], store.labels))


def command(
    step: str, inputs: dict[str, Path], parameters: Path, out: Path
) -> "subprocess.Popen[bytes]":
    """Start `longtail <step>` on the inputs, on one thread."""
    options = [f"--{name}={path}" for name, path in {**inputs, "out": out}.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "longtail", step, *options, f"--params={parameters}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=parameters.parent,
    )
