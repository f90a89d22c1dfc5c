"""Which pictures a report has, each with the sentence on how to read it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from longtail.metrics import calibration_bins
from longtail.report.content import members
from longtail.report.curves import plot_reliability, plot_tau_curve, plot_training
from longtail.report.material import Material
from longtail.report.plots import (
    CONFUSION_CELLS,
    plot_accuracy_by_count,
    plot_class_counts,
    plot_confusion,
    plot_variants,
    plot_weight_norms,
)
from longtail.report.style import VARIANT_STYLE, svg
from longtail.report.table import TITLES, applicable


@dataclass(frozen=True)
class Drawing:
    """One figure, and the words around it on the page."""

    name: str
    title: str
    how_to_read: str
    figure: Figure

    def svg(self) -> str:
        """Render it for the page."""
        return svg(self.figure, name=self.name, description=f"{self.title}. {self.how_to_read}")


def draw(material: Material) -> Iterator[Drawing]:
    """Yield every picture there is something to draw for."""
    report = material.report
    yield Drawing(
        "variants",
        "Accuracy by variant and group",
        "A mark is the accuracy on the test images of a group, its line the interval. Where lines "
        "hardly overlap, the difference is more than chance.",
        plot_variants(report),
    )
    yield Drawing(
        "accuracy_by_count",
        "Accuracy against training images",
        "The rarer the class, the further to the right; with many classes a line is the mean over "
        "a tenth of them, and the dots are single classes of the chosen variant. A line that falls "
        "slowly serves the tail.",
        plot_accuracy_by_count(report),
    )
    yield Drawing(
        "class_counts",
        "How long the tail is",
        "Training images of every class on a logarithmic axis, coloured by group.",
        plot_class_counts(material.classes, report["group_names"]),
    )
    yield Drawing(
        "confusion",
        f"What is taken for what: {TITLES[material.chosen]}",
        "A row is a true class, a column what it was called, most training images first. The "
        "diagonal is right; dark columns on the left mean that rare classes are taken for frequent "
        "ones." + _sharing(material),
        plot_confusion(material.confusion, material.classes, report["group_names"]),
    )
    yield from _calibration(material)
    yield from _weights(material)
    yield from _training(material)


def _sharing(material: Material) -> str:
    together = len(material.classes) / CONFUSION_CELLS
    return f" About {together:.0f} neighbouring classes share a cell." if together >= 1.5 else ""


def _calibration(material: Material) -> Iterator[Drawing]:
    """Stage 1 and the chosen variant alone: more lines in small panels hide each other."""
    shown = [name for name, _ in applicable(material.report) if name in ("stage1", material.chosen)]
    panels, errors = {}, {}
    groups = members(material.classes, material.report["group_names"])
    for group, labels in groups.items():
        parts = {
            name: material.outcomes[name].only(np.isin(material.outcomes[name].labels, labels))
            for name in shown
        }
        bins = material.report["calibration_bins"]
        panels[group] = {
            name: calibration_bins(part.confidences, part.correct, bins=bins)
            for name, part in parts.items()
        }
        errors[group] = {
            name: material.report["variants"][name]["groups"][group]["calibration_error"]
            for name in shown
        }
    yield Drawing(
        "reliability",
        "Is the confidence earned?",
        "On the diagonal, of 100 predictions made with 70 % confidence 70 are right; below it the "
        "model is too sure of itself. Above each panel stands the calibration error"
        + (", stage 1 before the chosen variant." if len(shown) > 1 else ".")
        + " Bins of fewer than 5 images are left out.",
        plot_reliability(panels, errors),
    )


def _weights(material: Material) -> Iterator[Drawing]:
    norms = {
        name: np.array(variant["weight_norms"])
        for name, variant in applicable(material.report)
        if variant["weight_norms"]
    }
    if norms:
        yield Drawing(
            "weight_norms",
            "Weight norms by class",
            "A head that favours frequent classes has longer weight vectors on the left. Tau "
            "shortens them; a balanced head is flat, or rises to the right.",
            plot_weight_norms(norms, material.classes),
        )
    if not material.curve:
        return
    variants = material.choice["variants"]
    taus = {
        name.removesuffix("_tau"): variants[name]["tau"]
        for name in ("stage1_tau", "stage2_tau")
        if "tau" in variants.get(name, {})
    }
    yield Drawing(
        "tau_curve",
        "How tau was chosen",
        "The score on validation images for every tau of the grid, rings on the picked ones; at 0 "
        "the weights are as trained, at 1 they all have the same length.",
        plot_tau_curve(material.curve, taus, metric=material.tau_metric),
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
