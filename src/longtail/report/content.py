"""The content of `report.json`: variants, groups and classes in numbers, and warnings."""

from typing import Any

from longtail.errors import first_few
from longtail.metrics import FEW_TEST_IMAGES, Outcome, class_metrics, group_metrics


def build_report(
    outcomes: dict[str, Outcome],
    *,
    weight_norms: dict[str, list[float]],
    choice: dict[str, Any],
    profile: dict[str, Any],
    test_digest: str,
    provenance: dict[str, str],
    confidence: float,
    bins: int,
) -> dict[str, Any]:
    """Return the content of `report.json`.

    Args:
        outcomes: variant -> what it said about the test images.
        weight_norms: variant -> norms of the rows of its head, where their length matters.
        choice: content of `tau_norm.json`: the chosen variant, and the taus.
        profile: content of `profile.json`: the classes and their groups.
        provenance: what was read -> digest.
        confidence: level of the intervals.
        bins: of the calibration error.
    """
    classes = [
        {key: entry[key] for key in ("name", "group", "train", "test")}
        for entry in profile["classes"]
    ]
    groups = members(classes, profile["group_names"])
    return {
        "chosen": choice["chosen"],
        "test": {"digest": test_digest, "images": sum(entry["test"] for entry in classes)},
        "confidence": confidence,
        "calibration_bins": bins,
        "group_names": profile["group_names"],
        "classes": classes,
        "warnings": warnings_of(classes, groups),
        "provenance": provenance,
        "variants": {
            name: (
                _measured(outcomes[name], groups, len(classes), confidence, bins)
                | {"tau": variant["tau"], "weight_norms": weight_norms.get(name)}
                if name in outcomes
                else {"not_applicable": variant["not_applicable"]}
            )
            for name, variant in choice["variants"].items()
        },
    }


def members(classes: list[dict[str, Any]], group_names: list[str]) -> dict[str, list[int]]:
    """Return the labels of `all` and of each group."""
    return {"all": list(range(len(classes)))} | {
        group: [label for label, entry in enumerate(classes) if entry["group"] == group]
        for group in group_names
    }


def flat_metrics(report: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return the few numbers a variant that `dvc metrics` shows."""
    return {
        name: {
            "accuracy": variant["groups"]["all"]["accuracy"],
            "balanced_accuracy": variant["groups"]["all"]["balanced_accuracy"],
            "calibration_error": variant["groups"]["all"]["calibration_error"],
        }
        | {group: variant["groups"][group]["accuracy"] for group in report["group_names"]}
        for name, variant in report["variants"].items()
        if "not_applicable" not in variant
    }


def warnings_of(classes: list[dict[str, Any]], groups: dict[str, list[int]]) -> list[str]:
    """Return what a reader must know before trusting the numbers."""
    empty = [group for group, labels in groups.items() if not labels]
    absent = [entry["name"] for entry in classes if entry["test"] == 0]
    scarce = [
        f"{entry['name']} ({entry['test']})"
        for entry in classes
        if 0 < entry["test"] < FEW_TEST_IMAGES
    ]
    found = [f"No class is in the group {group}: its metrics are unknown." for group in empty]
    if absent:
        found.append(
            f"{_how_many(absent)} no test image, so nothing is known of: {first_few(absent)}."
        )
    if scarce:
        found.append(
            f"{_how_many(scarce)} fewer than {FEW_TEST_IMAGES} test images, so that one image "
            f"moves the accuracy of the class by 25 points or more: {first_few(scarce)}."
        )
    return found


def _measured(
    outcome: Outcome,
    groups: dict[str, list[int]],
    num_classes: int,
    confidence: float,
    bins: int,
) -> dict[str, Any]:
    return {
        "groups": {
            group: group_metrics(
                outcome, labels, num_classes=num_classes, confidence=confidence, bins=bins
            )
            for group, labels in groups.items()
        },
        "per_class": class_metrics(outcome, num_classes=num_classes, confidence=confidence),
    }


def _how_many(names: list[str]) -> str:
    return "1 class has" if len(names) == 1 else f"{len(names)} classes have"
