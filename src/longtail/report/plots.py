"""Pictures of classes: their counts, accuracies, weight norms and confusions.

Classes stand in order of their training images everywhere, so that the tail is always on the right.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from longtail.report.style import (
    INK,
    VARIANT_STYLE,
    group_color,
    new_figure,
    styled,
)
from longtail.report.table import TITLES

NAMED_CLASSES = 20  # up to so many, every class is named
CELL_INK = "#1c2b34"  # on the light cells of a matrix, whatever the theme
CONFUSION_CELLS = 200  # beyond, neighbouring classes share a cell
TICKS = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000]


def class_order(classes: Sequence[dict[str, Any]]) -> list[int]:
    """Return the labels from most to least training images, equal counts by label."""
    return sorted(range(len(classes)), key=lambda label: (-classes[label]["train"], label))


def plot_class_counts(classes: Sequence[dict[str, Any]], group_names: Sequence[str]) -> Figure:
    """Draw the training images of every class, coloured by group, on a logarithmic axis."""
    order = class_order(classes)
    with styled():
        figure, axes = new_figure(height=3.2)
        for position, group in enumerate(group_names):
            at = [x for x, label in enumerate(order) if classes[label]["group"] == group]
            heights = [classes[order[x]]["train"] for x in at]
            axes.bar(
                at,
                heights,
                width=0.85 if len(classes) <= NAMED_CLASSES else 1.0,
                color=group_color(position),
                label=f"{group} ({len(at)} {'class' if len(at) == 1 else 'classes'})",
            )
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        _count_ticks(axes, "y", [1, max(entry["train"] for entry in classes)])
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("training images")
        axes.legend()
        _class_axis(axes, [classes[label]["name"] for label in order])
    return figure


def plot_accuracy_by_count(report: dict[str, Any]) -> Figure:
    """Draw per-class accuracy against training images, smoothed over neighbours in count.

    The line is the running mean over a tenth of the classes; the points are single classes, of
    every variant where classes are few, else of the chosen one.
    """
    classes = report["classes"]
    order = [label for label in class_order(classes) if classes[label]["test"]]
    counts = [classes[label]["train"] for label in order]
    with styled():
        figure, axes = new_figure()
        for name, variant in applicable(report):
            style = VARIANT_STYLE[name]
            accuracy = np.array([100 * variant["per_class"][label]["accuracy"] for label in order])
            few = len(classes) <= NAMED_CLASSES
            line = {**style, "marker": style["marker"] if few else ""}
            axes.plot(counts, _running_mean(accuracy), label=TITLES[name], **line)
            if not few and name == report["chosen"]:
                axes.scatter(counts, accuracy, s=10, color=style["color"], alpha=0.45, lw=0)
        axes.set_xscale("log" if min(counts) > 0 else "symlog")
        _count_ticks(axes, "x", counts)
        axes.invert_xaxis()
        axes.set_ylim(-3, 103)
        axes.set_xlabel("training images of the class")
        axes.set_ylabel("test accuracy, %")
        axes.legend()
    return figure


def plot_weight_norms(norms: dict[str, NDArray[Any]], classes: Sequence[dict[str, Any]]) -> Figure:
    """Draw `||w_j||` by class, relative to the mean of its head, since only ratios move argmax.

    Args:
        norms: variant -> norms `[C]` by label.
    """
    order = class_order(classes)
    with styled():
        figure, axes = new_figure(height=3.2)
        axes.axhline(1.0, color=INK, linewidth=0.8)
        for name, values in norms.items():
            style = dict(VARIANT_STYLE[name])
            if len(classes) > NAMED_CLASSES:
                style["marker"] = ""
            axes.plot(values[order] / values.mean(), label=TITLES[name], **style)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("weight norm / mean of the head")
        axes.legend()
        _class_axis(axes, [classes[label]["name"] for label in order])
    return figure


def plot_confusion(
    confusion: NDArray[np.int64], classes: Sequence[dict[str, Any]], group_names: Sequence[str]
) -> Figure:
    """Draw the share of each true class (row) that was given each class (column).

    Args:
        confusion: images by true and predicted label, `[C, C]`.
    """
    order = class_order(classes)
    cells, cell_of = _merge(confusion[np.ix_(order, order)])
    shares = 100 * cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    with styled():
        figure, axes = new_figure(height=4.5)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        bar = figure.colorbar(image, ax=axes, shrink=0.75, label="% of the true class")
        bar.outline.set_visible(False)
        axes.grid(visible=False)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        if len(classes) <= NAMED_CLASSES:
            names = [_short(classes[label]["name"]) for label in order]
            axes.set_xticks(range(len(names)), names, rotation=_rotation(names))
            axes.set_yticks(range(len(names)), names)
            _write_shares(axes, shares)
        else:
            _mark_groups(axes, [classes[label]["group"] for label in order], group_names, cell_of)
    return figure


def applicable(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return name and content of the variants that were measured, in the order of the tables.

    The heads of a sweep stand in the tables alone: ten more lines would hide the others.
    """
    variants = report["variants"]
    return [
        (name, variants[name])
        for name in TITLES
        if name in variants and "not_applicable" not in variants[name]
    ]


def _running_mean(values: NDArray[Any]) -> NDArray[Any]:
    reach = len(values) // 20
    padded = np.concatenate([[0.0], np.cumsum(values)])
    start = np.maximum(np.arange(len(values)) - reach, 0)
    stop = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    mean: NDArray[Any] = (padded[stop] - padded[start]) / (stop - start)
    return mean


def _merge(matrix: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sum neighbouring classes until the matrix has at most `CONFUSION_CELLS` rows."""
    cell_of = np.arange(len(matrix)) * min(CONFUSION_CELLS, len(matrix)) // len(matrix)
    starts = np.flatnonzero(np.diff(cell_of, prepend=-1))
    merged = np.add.reduceat(np.add.reduceat(matrix, starts, axis=0), starts, axis=1)
    return merged, cell_of


def _write_shares(axes: Axes, shares: NDArray[Any]) -> None:
    for row, column in np.argwhere(shares >= 0.5):
        share = shares[row, column]
        color = "white" if share > 55 else CELL_INK
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=color, fontsize=8)


def _mark_groups(
    axes: Axes, groups: Sequence[str], group_names: Sequence[str], cell_of: NDArray[np.int64]
) -> None:
    middles, names = [], []
    for name in group_names:
        at = [cell_of[x] for x, group in enumerate(groups) if group == name]
        if at:
            middles.append((at[0] + at[-1]) / 2)
            names.append(name)
            for line in (axes.axhline, axes.axvline):
                line(at[-1] + 0.5, color=CELL_INK, linewidth=0.7)
    axes.set_xticks(middles, names)
    axes.set_yticks(middles, names, rotation=90, va="center")
    axes.tick_params(length=0)


def _count_ticks(axes: Axes, which: str, counts: Sequence[int]) -> None:
    ticks = [tick for tick in TICKS if min(counts) <= tick <= max(counts)]
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_ticks(ticks, labels=[f"{tick:,}" for tick in ticks])
    axis.set_ticks([], minor=True)


def _class_axis(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xlim(-0.7, len(names) - 0.3)
    if len(names) <= NAMED_CLASSES:
        short = [_short(name) for name in names]
        axes.set_xticks(range(len(short)), short, rotation=_rotation(short))
        axes.set_xlabel("class, most training images first")
    else:
        axes.set_xlabel("classes, most training images first")


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"


def _rotation(names: Sequence[str]) -> float:
    return 90.0 if max(map(len, names)) > 3 else 0.0
