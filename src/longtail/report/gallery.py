"""Which pictures a report has, in their order, each with the sentence on how to read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from longtail.metrics import Outcome, calibration_bins
from longtail.report.curves import plot_reliability, plot_tau_curve, plot_training
from longtail.report.page import Picture
from longtail.report.plots import (
    applicable,
    plot_accuracy_by_count,
    plot_class_counts,
    plot_confusion,
    plot_weight_norms,
)
from longtail.report.style import VARIANT_STYLE, svg
from longtail.report.table import TITLES


@dataclass(frozen=True)
class Material:
    """What the pictures are drawn from.

    Attributes:
        report: content of `report.json`.
        outcomes: variant -> what it said about the test images.
        norms: head -> norms of its rows `[C]`; only heads in which they matter.
        choice: content of `tau_norm.json`; `curve` is its grid.
        stage1_history: one entry an epoch; `stage2_history` likewise, empty if nothing is trained.
        bins: of the calibration error.
    """

    report: dict[str, Any]
    outcomes: dict[str, Outcome]
    norms: dict[str, NDArray[Any]]
    choice: dict[str, Any]
    curve: list[dict[str, Any]]
    stage1_history: list[dict[str, Any]]
    stage2_history: list[dict[str, Any]]
    bins: int

    @property
    def tau_metric(self) -> str:
        """The score on the curve that chose tau."""
        return f"val_{self.choice['select_by']}"

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Images of the chosen variant by true and predicted label, `[C, C]`."""
        outcome = self.outcomes[self.report["chosen"]]
        classes = len(self.report["classes"])
        cell = outcome.labels * classes + outcome.predictions
        return np.bincount(cell, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class Drawing:
    """One figure, and the words around it on the page."""

    name: str
    title: str
    how_to_read: str
    figure: Figure

    def picture(self) -> Picture:
        """Render it for the page."""
        return Picture(
            title=self.title,
            how_to_read=self.how_to_read,
            svg=svg(self.figure, name=self.name, description=self.title),
        )


def draw(material: Material) -> Iterator[Drawing]:
    """Yield every picture there is something to draw for."""
    report = material.report
    yield Drawing(
        "class_counts",
        "How long the tail is",
        "One bar a class on a logarithmic axis; the colour is the group in all tables above.",
        plot_class_counts(report["classes"], report["group_names"]),
    )
    yield Drawing(
        "accuracy_by_count",
        "Accuracy against training images",
        "The rarer the class, the further to the right; with many classes a line is the mean over "
        "a tenth of them, and the dots are single classes of the chosen variant. A line that falls "
        "slowly serves the tail.",
        plot_accuracy_by_count(report),
    )
    if material.norms:
        yield Drawing(
            "weight_norms",
            "Weight norms by class",
            "A head that favours frequent classes has longer weight vectors on the left. Tau "
            "shortens them; a balanced head is flat, or rises to the right.",
            plot_weight_norms(material.norms, report["classes"]),
        )
    yield from _chosen_tau(material)
    yield Drawing(
        "confusion",
        f"What is taken for what: {TITLES[report['chosen']]}",
        "A row is a true class, a column what it was called. The diagonal is right; dark columns "
        "on the left mean that rare classes are taken for frequent ones.",
        plot_confusion(material.confusion, report["classes"], report["group_names"]),
    )
    yield Drawing(
        "reliability",
        "Is the confidence earned?",
        "On the diagonal, of 100 predictions made with 70 % confidence 70 are right; below it the "
        "model is too sure of itself. Bins of fewer than 5 images are left out.",
        _reliability(material),
    )
    yield from _training(material)


def _chosen_tau(material: Material) -> Iterator[Drawing]:
    if not material.curve:
        return
    variants = material.choice["variants"]
    chosen = {
        name.removesuffix("_tau"): variants[name]["tau"]
        for name in ("stage1_tau", "stage2_tau")
        if "tau" in variants.get(name, {})
    }
    yield Drawing(
        "tau_curve",
        "How tau was chosen",
        "The score on validation images for every tau of the grid, rings on the picked ones; at 0 "
        "the weights are as trained, at 1 they all have the same length.",
        plot_tau_curve(material.curve, chosen, metric=material.tau_metric),
    )


def _reliability(material: Material) -> Figure:
    measured = applicable(material.report)
    return plot_reliability(
        {
            name: calibration_bins(material.outcomes[name], bins=material.bins)
            for name, _ in measured
        },
        {name: variant["groups"]["all"]["calibration_error"] for name, variant in measured},
    )


def _training(material: Material) -> Iterator[Drawing]:
    for stage, history in (
        ("stage1", material.stage1_history),
        ("stage2", material.stage2_history),
    ):
        if history:
            yield Drawing(
                f"training_{stage}",
                f"Training, {TITLES[stage].lower()}",
                "Training is solid, validation dashed. The two may use other mixes of classes, so "
                "their levels differ; watch whether the dashed line still moves.",
                plot_training(history, color=VARIANT_STYLE[stage]["color"]),
            )
