"""Tables that `dvc plots` draws: wide rows, one column a line."""

from typing import Any

from longtail.metrics import Outcome
from longtail.report.plots import applicable, class_order


def tau_rows(curve: list[dict[str, Any]], *, metric: str) -> list[dict[str, Any]]:
    """Return `{tau, <head>: score}` by tau."""
    taus = sorted({point["tau"] for point in curve})
    return [{"tau": tau} | {p["head"]: p[metric] for p in curve if p["tau"] == tau} for tau in taus]


def class_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return `{class, group, train_images, <variant>: accuracy}`, most training images first."""
    return [
        {
            "class": report["classes"][label]["name"],
            "group": report["classes"][label]["group"],
            "train_images": report["classes"][label]["train"],
        }
        | {name: variant["per_class"][label]["accuracy"] for name, variant in applicable(report)}
        for label in class_order(report["classes"])
    ]


def confusion_rows(outcome: Outcome, classes: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return `{actual, predicted}`, one row an image."""
    names = [entry["name"] for entry in classes]
    return [
        {"actual": names[label], "predicted": names[prediction]}
        for label, prediction in zip(outcome.labels, outcome.predictions, strict=True)
    ]
