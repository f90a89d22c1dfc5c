"""What the user interface shows beside an artifact: plain numbers and words from its files."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from longtail.artifacts import (
    Champion,
    Classifier,
    Evaluation,
    Features,
    Gate,
    Images,
    Registration,
    Representation,
    Split,
    TauNorm,
    Validation,
)
from longtail.files import file_digest, read_json
from longtail.io.versioning import dvc_directory_md5
from longtail.report.material import outcome_in
from longtail.report.ranking import confusion_of, merged_confusion


def images(root: Path) -> dict[str, Any]:
    """Counts of images and classes, what was kept out, and the digest of the manifest."""
    artifact = Images(root)
    classes = read_json(artifact.classes)
    return {
        "images": pq.read_metadata(artifact.manifest).num_rows,
        "classes": len(classes["classes"]),
        "super_classes": len(classes["super_classes"]),
        "quarantined": pq.read_metadata(artifact.quarantine).num_rows,
        "manifest_sha256": file_digest(artifact.manifest),
    }


def split(root: Path) -> dict[str, Any]:
    """The law, images by part, classes by group, and the digests that name this split."""
    profile = read_json(Split(root).profile)
    classes = profile["classes"]
    groups = Counter(entry["group"] for entry in classes)
    return {
        "law": profile["law"],
        "imbalance_factor": profile["imbalance_factor"],
        **{part: sum(entry[part] for entry in classes) for part in ("train", "val", "test")},
        **{f"classes_{name}": groups[name] for name in profile["group_names"]},
        "split_md5": dvc_directory_md5(root),
        "profile_sha256": file_digest(Split(root).profile),
    }


def validation(root: Path) -> dict[str, Any]:
    """How many rules there are, and how many were broken, as errors and as warnings."""
    rules = read_json(Validation(root).result)["rules"]
    broken = Counter(rule["level"] for rule in rules if rule["passed"] is False)
    return {"rules": len(rules), "errors": broken["error"], "warnings": broken["warning"]}


def representation(root: Path) -> dict[str, Any]:
    """What was trained, for how long, how well it does on val, and its digest."""
    artifact = Representation(root)
    content = read_json(artifact.description)
    keys = ("backbone", "loss", "sampler", "epochs", "best_epoch", "parameters", "multiply_adds")
    return {
        **{key: content[key] for key in keys},
        "val_balanced_accuracy": content["val"]["val_balanced_accuracy"],
        "backbone_sha256": file_digest(artifact.backbone),
    }


def features(root: Path) -> dict[str, Any]:
    """Images and views of train and val, and how many numbers describe an image."""
    artifact = Features(root)
    about: dict[str, Any] = {}
    for part in ("train", "val"):
        views, count, dimension = np.load(artifact.features(part), mmap_mode="r").shape
        about |= {f"{part}_images": count, f"{part}_views": views, "dimension": dimension}
    return about


def classifier(root: Path) -> dict[str, Any]:
    """The method, the one that val chose after a sweep, and its numbers on val."""
    content = read_json(Classifier(root).description)
    return {"method": content["method"], **_numbers(content["val"] or {})}


def tau_norm(root: Path) -> dict[str, Any]:
    """The variant that val chose, with its tau and its numbers on val."""
    content = read_json(TauNorm(root).choice)
    chosen = content["variants"][content["chosen"]]
    return {"chosen": content["chosen"], "select_by": content["select_by"], **_numbers(chosen)}


def evaluation(root: Path) -> dict[str, Any]:
    """The chosen variant's numbers on test, and the digest of all predictions."""
    report = read_json(Evaluation(root).report)
    return {
        "chosen": report["chosen"],
        "test_images": report["test"]["images"],
        **scores(root),
        "predictions_sha256": file_digest(Evaluation(root).predictions),
    }


def scores(root: Path) -> dict[str, float]:
    """The chosen variant's numbers: over all classes, and the accuracy of each group."""
    report = read_json(Evaluation(root).report)
    groups = report["variants"][report["chosen"]]["groups"]
    by_group = {name: groups[name]["accuracy"] for name in report["group_names"] if name in groups}
    return {
        **_numbers(groups["all"]),
        **{f"accuracy_{name}": value for name, value in by_group.items() if value is not None},
    }


def group_confusion(root: Path) -> tuple[list[str], list[list[int]]]:
    """Return the names of the groups, and how many images of one were taken for another."""
    report = read_json(Evaluation(root).report)
    names = report["group_names"]
    place = [names.index(entry["group"]) for entry in report["classes"]]
    said = outcome_in(pd.read_parquet(Evaluation(root).predictions), report["chosen"])
    confusion = confusion_of(said, num_classes=len(place))
    return names, merged_confusion(confusion, place, cells=len(names)).tolist()


def champion(root: Path) -> dict[str, Any]:
    """Name, version, digest and variant of the champion, or `none`."""
    found = read_json(Champion(root).identity)["champion"]
    return {"champion": "none"} if found is None else {k: str(v) for k, v in found.items()}


def verdict(root: Path) -> dict[str, Any]:
    """The outcome, how many checks there were, and the names of those that failed."""
    content = read_json(Gate(root).verdict)
    failed = [check["name"] for check in content["checks"] if check["passed"] is False]
    return {
        "outcome": content["outcome"],
        "checks": len(content["checks"]),
        "failed": ", ".join(failed) or "none",
    }


def registration(root: Path) -> dict[str, Any]:
    """Version and aliases in the registry, and the MLflow run."""
    content = read_json(Registration(root).record)
    return {
        "name": content["name"],
        "version": content["version"] or "none",
        "aliases": ", ".join(content["aliases"]) or "none",
        "outcome": content["outcome"],
        "run_id": content["run_id"],
    }


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in values.items() if isinstance(value, int | float)}
