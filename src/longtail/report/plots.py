"""Pictures of classes: their counts, accuracies, weight norms and confusions.

Classes stand in order of their training images everywhere, so that the tail is always on the right.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from longtail.report.ranking import Confusion, class_order, merged_confusion, running_mean
from longtail.report.style import (
    INK,
    LINE,
    VARIANT_STYLE,
    group_color,
    legend_above,
    new_figure,
    styled,
)
from longtail.report.table import TITLES, applicable, table_columns

NAMED_CLASSES = 20  # up to so many, every class is named
CELL_INK = "#1c2b34"  # on the light cells of a matrix, whatever the theme
NO_BAR = 0.7  # where the logarithmic axis of counts begins
DOTS = 500  # beyond, dots are drawn as one picture
CONFUSION_CELLS = 100  # beyond, neighbouring classes share a cell
TICKS = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000]


def plot_class_counts(classes: Sequence[dict[str, Any]], group_names: Sequence[str]) -> Figure:
    """Draw the training images of every class, coloured by group, on a logarithmic axis."""
    order = class_order(classes)
    with styled():
        figure, axes = new_figure(height=3.2)
        for position, group in enumerate(group_names):
            own = [classes[label]["group"] == group for label in order]
            heights = [
                classes[label]["train"] if mine else NO_BAR
                for label, mine in zip(order, own, strict=True)
            ]
            label = f"{group} ({sum(own)} {'class' if sum(own) == 1 else 'classes'})"
            gap = 0.08 if len(classes) <= NAMED_CLASSES else 0.0
            # One outline a group: a thousand bars would be a thousand shapes.
            axes.stairs(
                np.stack([heights, np.full(len(order), NO_BAR)], axis=1).ravel()[:-1],
                np.stack(
                    [np.arange(len(order)) - 0.5 + gap, np.arange(len(order)) + 0.5 - gap], 1
                ).ravel(),
                baseline=NO_BAR,
                fill=True,
                color=group_color(position),
                label=label,
            )
        axes.set_yscale("log")
        axes.set_ylim(bottom=NO_BAR)
        _count_ticks(axes, "y", [1, max(entry["train"] for entry in classes)])
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("training images")
        legend_above(figure, axes)
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
    lowest = 100.0
    with styled():
        figure, axes = new_figure()
        for name, variant in applicable(report):
            style = VARIANT_STYLE[name]
            accuracy = np.array([100 * variant["per_class"][label]["accuracy"] for label in order])
            lowest = min(lowest, float(accuracy.min()))
            few = len(classes) <= NAMED_CLASSES
            line = {**style, "marker": style["marker"] if few else ""}
            axes.plot(counts, running_mean(accuracy), label=TITLES[name], **line)
            if not few and name == report["chosen"]:
                axes.scatter(
                    counts,
                    accuracy,
                    s=10,
                    color=style["color"],
                    alpha=0.45,
                    lw=0,
                    rasterized=len(classes) > DOTS,
                )
        axes.set_xscale("log" if min(counts) > 0 else "symlog")
        _count_ticks(axes, "x", counts)
        axes.invert_xaxis()
        axes.set_ylim(_floor(lowest) - 3, 103)
        axes.set_xlabel("training images of the class")
        axes.set_ylabel("test accuracy, %")
        legend_above(figure, axes)
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
        legend_above(figure, axes)
        _class_axis(axes, [classes[label]["name"] for label in order])
    return figure


def plot_variants(report: dict[str, Any]) -> Figure:
    """Draw the accuracy of every variant with its interval, group by group."""
    columns = table_columns(report)
    measured = applicable(report)
    lowest = 100.0
    with styled():
        figure, axes = new_figure(height=3.2)
        for place, (name, variant) in enumerate(measured):
            style = VARIANT_STYLE[name]
            cells = [variant["groups"][column] for column in columns]
            known = [x for x, cell in enumerate(cells) if cell["accuracy"] is not None]
            middle = [100 * cells[x]["accuracy"] for x in known]
            ends = [[100 * end for end in cells[x]["accuracy_interval"]] for x in known]
            lowest = min([lowest, *(low for low, _ in ends)])
            axes.errorbar(
                [x + 0.17 * (place - (len(measured) - 1) / 2) for x in known],
                middle,
                yerr=np.abs(np.array(ends).reshape(-1, 2).T - np.array(middle)),
                linestyle="",
                marker=style["marker"],
                color=style["color"],
                markersize=6.5,
                elinewidth=1.6,
                label=TITLES[name],
            )
        for edge in range(1, len(columns)):
            axes.axvline(edge - 0.5, color=LINE, linewidth=0.8)
        axes.set_xticks(range(len(columns)), columns)
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(_floor(lowest), 103)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("test accuracy, %")
        legend_above(figure, axes)
    return figure


def plot_confusion(
    confusion: Confusion, classes: Sequence[dict[str, Any]], group_names: Sequence[str]
) -> Figure:
    """Draw the share of each true class (row) that was given each class (column).

    Beyond `CONFUSION_CELLS` classes, neighbours in the number of training images share a cell.
    """
    order = class_order(classes)
    cells = min(CONFUSION_CELLS, len(classes))
    cell_of = np.arange(len(classes)) * cells // len(classes)  # by position in the order
    place = np.empty(len(classes), dtype=np.int64)
    place[order] = cell_of
    merged = merged_confusion(confusion, place.tolist(), cells=cells)
    shares = 100 * merged / np.maximum(merged.sum(axis=1, keepdims=True), 1)
    with styled():
        figure, axes = new_figure(height=4.9)
        # A power below 1 spreads small shares: mistakes are few each, and what the picture is for.
        norm = PowerNorm(0.5 if len(classes) <= NAMED_CLASSES else 0.35, vmin=0, vmax=100)
        image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
        bar = figure.colorbar(
            image, ax=axes, location="bottom", shrink=0.6, aspect=30, label="% of the true class"
        )
        bar.set_ticks(
            [0, 1, 5, 20, 50, 100] if len(classes) > NAMED_CLASSES else [0, 5, 20, 50, 100]
        )
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


def _floor(lowest: float) -> float:
    """Where an axis of percent begins: at 0, or at a ten below the values if they are all high."""
    return 0.0 if lowest < 40 else 10.0 * (lowest // 10) - 10


def _write_shares(axes: Axes, shares: NDArray[Any]) -> None:
    for row, column in np.argwhere(shares >= 0.5):
        share = shares[row, column]
        color = "white" if share > 30 else CELL_INK
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
