"""Tables that `dvc plots` draws: wide rows, one column a line.

Every column is always there, null where a variant does not apply: DVC warns of missing ones.
"""

from typing import Any

from longtail.metrics import Outcome
from longtail.report.ranking import class_order
from longtail.report.table import TITLES, applicable


def tau_rows(curve: list[dict[str, Any]], *, metric: str) -> list[dict[str, Any]]:
    """Return `{tau, stage1, stage2}` by tau, with the scores of both heads."""
    score = {(point["tau"], point["head"]): point[metric] for point in curve}
    return [
        {"tau": tau} | {head: score.get((tau, head)) for head in ("stage1", "stage2")}
        for tau in sorted({point["tau"] for point in curve})
    ]


def class_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return `{class, group, train_images, <variant>: accuracy}`, most training images first."""
    classes = report["classes"]
    measured = applicable(report)
    return [
        {
            "class": classes[label]["name"],
            "group": classes[label]["group"],
            "train_images": classes[label]["train"],
        }
        | dict.fromkeys(TITLES)
        | {name: variant["per_class"][label]["accuracy"] for name, variant in measured}
        for label in class_order(classes)
    ]


def confusion_rows(outcome: Outcome, classes: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return `{actual, predicted}`, one row an image."""
    names = [entry["name"] for entry in classes]
    return [
        {"actual": names[label], "predicted": names[prediction]}
        for label, prediction in zip(outcome.labels, outcome.predictions, strict=True)
    ]
