"""One self-contained HTML page: no network, no scripts, pictures inside."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from longtail.report.content import members
from longtail.report.plots import applicable, class_order
from longtail.report.published import Published
from longtail.report.style import group_color
from longtail.report.table import (
    TITLES,
    interval_in_percent,
    percent,
    table_columns,
    variant_table,
)

SHOWN_CLASSES = 8  # of the best and of the worst
LISTED_CLASSES = 1000  # beyond, the list of all classes stays in report.json
MORE_METRICS = {
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "mcc": "MCC",
    "cohen_kappa": "Cohen's kappa",
    "top5_accuracy": "Top-5",
    "calibration_error": "Calibration error",
}


@dataclass(frozen=True)
class Picture:
    """An inline picture with its title and the sentence on how to read it."""

    title: str
    how_to_read: str
    svg: str


def render_page(
    report: dict[str, Any],
    *,
    profile: dict[str, Any],
    representation: dict[str, Any],
    classifier: dict[str, Any],
    confusion: NDArray[np.int64],
    pictures: list[Picture],
    published: list[Published],
) -> str:
    """Return the page as HTML.

    Args:
        report: content of `report.json`; the next three likewise of their artifacts.
        confusion: images of the chosen variant by true and predicted label, `[C, C]`.
    """
    environment = Environment(
        loader=PackageLoader("longtail.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ranked = _ranked(report, confusion)
    shown = min(SHOWN_CLASSES, max(1, len(ranked) // 2))
    environment.filters |= {"percent": percent, "interval": interval_in_percent, "svg": Markup}
    return environment.get_template("template.html").render(
        report=report,
        profile=profile,
        representation=representation,
        classifier=classifier,
        titles=TITLES,
        columns=table_columns(report),
        rows=variant_table(report),
        measured=applicable(report),
        chosen=report["variants"][report["chosen"]],
        stage1=report["variants"]["stage1"],
        more_metrics=MORE_METRICS,
        groups=_groups(report),
        worst=ranked[:shown],
        best=ranked[::-1][:shown],
        listed=class_order(report["classes"])[:LISTED_CLASSES],
        pictures=pictures,
        published=published,
    )


def _groups(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Name, colour, classes, range of training images and images of each group."""
    labels_of = members(report["classes"], report["group_names"])
    rows = []
    for position, name in enumerate(report["group_names"]):
        entries = [report["classes"][label] for label in labels_of[name]]
        train = [entry["train"] for entry in entries]
        rows.append(
            {
                "name": name,
                "color": group_color(position),
                "classes": len(entries),
                "train": sum(train),
                "test": sum(entry["test"] for entry in entries),
                "least": min(train, default=None),
                "most": max(train, default=None),
            }
        )
    return rows


def _ranked(report: dict[str, Any], confusion: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Classes that have test images, least accurate first, fewest training images first at par."""
    classes = report["classes"]
    per_class = report["variants"][report["chosen"]]["per_class"]
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    ranked = sorted(
        (label for label in range(len(classes)) if per_class[label]["images"]),
        key=lambda label: (per_class[label]["accuracy"], classes[label]["train"], label),
    )
    return [
        classes[label]
        | per_class[label]
        | {
            "mistaken_for": classes[int(mistakes[label].argmax())]["name"],
            "mistaken": int(mistakes[label].max()),
        }
        for label in ranked
    ]
