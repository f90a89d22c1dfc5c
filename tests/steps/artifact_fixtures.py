"""What the learning steps note of themselves, for made-up models, and what artifacts consist of."""

from pathlib import Path
from typing import Any

from longtail.files import file_digest

SIZE = 8
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
_SCORE = {"val_accuracy": 0.5, "val_balanced_accuracy": 0.5}


def stage1_description(**changes: Any) -> dict[str, Any]:
    """Return what `represent` notes: here of plain cross-entropy on three classes."""
    description = {
        "backbone": "cifar_resnet32",
        "pretrained": None,
        "feature_dim": 64,
        "image_size": SIZE,
        "mean": MEAN,
        "std": STD,
        "horizontal_flip": True,
        "head_kind": "linear",
        "head_scale": 1.0,
        "classes": ["class-0", "class-1", "class-2"],
        "class_counts": [100, 50, 33],
        "groups": ["many", "medium", "few"],
        "group_names": ["many", "medium", "few"],
        "super_classes": [],
        "super_of": [],
        "loss": "cross_entropy",
        "departures": [],
        "keeps_prior": True,
        "follows_counts": True,
        "sampler": "instance",
        "best_epoch": 11,
        "epochs": 12,
        "val": {},
        "parameters": 464_154,
        "multiply_adds": 4_300_000,
        "split": "f" * 64,
    }
    return description | changes


def stage2_description() -> dict[str, Any]:
    """Return what `classify` notes: here of crt with balanced draws."""
    return {"method": "crt", "best_epoch": 4, "val": {}, "follows_counts": False}


def choice(**changes: Any) -> dict[str, Any]:
    """Return what `tau_norm` notes: here of heads of which stage 2 has no normalised form."""
    chosen = {
        "chosen": "stage2",
        "select_by": "balanced_accuracy",
        "test_time_flip": False,
        "follow_counts": ["stage1"],
        "variants": {
            "stage1": {"tau": None, **_SCORE},
            "stage1_tau": {"tau": 0.7, **_SCORE},
            "stage2": {"tau": None, **_SCORE},
            "stage2_tau": {"not_applicable": "rows of ncm are class means"},
        },
    }
    return chosen | changes


def digests(root: Path) -> dict[str, str]:
    """Return the digest of every file of an artifact, by name."""
    return {path.name: file_digest(path) for path in sorted(root.iterdir())}
