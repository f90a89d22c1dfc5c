"""Pictures of curves: training, the tau grid and calibration."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from longtail.report.style import INK, VARIANT_STYLE, WIDTH, legend_above, new_figure, styled
from longtail.report.table import TITLES

LOSSES = {"train_loss": ("train", "-"), "val_loss": ("val", "--")}
SCORES = {"train_accuracy": ("train", "-"), "val_balanced_accuracy": ("val", "--")}


def plot_training(history: Sequence[dict[str, Any]], *, color: str) -> Figure:
    """Draw loss and accuracy by epoch, training solid and validation dashed."""
    with styled():
        figure = Figure(figsize=(WIDTH, 2.9))
        left, right = figure.subplots(1, 2)
        _draw(left, history, LOSSES, color=color, scale=1.0)
        _draw(right, history, SCORES, color=color, scale=100.0)
        left.set_ylabel("loss")
        left.set_ylim(bottom=0)
        right.set_ylabel("accuracy, % (val: balanced)")
        for axes in (left, right):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        legend_above(figure, right)
    return figure


def plot_tau_curve(
    curve: Sequence[dict[str, Any]], chosen_tau: dict[str, float], *, metric: str
) -> Figure:
    """Draw the val score along the tau grid for each head, the picked tau marked.

    Args:
        curve: points `{head, tau, val_accuracy, val_balanced_accuracy}`.
        chosen_tau: head -> tau.
        metric: which score of a point chose tau.
    """
    with styled():
        figure, axes = new_figure(height=3.2)
        for head in [name for name in TITLES if any(p["head"] == name for p in curve)]:
            points = [p for p in curve if p["head"] == head]
            style = VARIANT_STYLE[head]
            taus, scores = [p["tau"] for p in points], [100 * p[metric] for p in points]
            axes.plot(taus, scores, label=TITLES[head], **style)
            if head in chosen_tau:
                tau = chosen_tau[head]
                score = scores[taus.index(tau)]
                axes.scatter([tau], [score], s=90, facecolor="none", edgecolor=INK, zorder=3)
        axes.set_xlabel("tau")
        axes.set_ylabel(f"{metric.removeprefix('val_').replace('_', ' ')} on val, %")
        legend_above(figure, axes)
    return figure


def plot_reliability(
    panels: dict[str, dict[str, list[dict[str, Any]]]], errors: dict[str, dict[str, float | None]]
) -> Figure:
    """Draw accuracy against confidence, a panel a group; bins of fewer than 5 images are left out.

    Args:
        panels: group -> variant -> bins `{images, confidence, accuracy}`.
        errors: group -> variant -> calibration error.
    """
    rows = (len(panels) + 1) // 2
    with styled():
        figure = Figure(figsize=(WIDTH, 0.5 + 2.1 * rows))
        grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (group, curves) in zip(grid, panels.items(), strict=False):
            axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8)
            for name, filled in curves.items():
                points = [b for b in filled if b["images"] >= 5]
                axes.plot(
                    [100 * b["confidence"] for b in points],
                    [100 * b["accuracy"] for b in points],
                    label=TITLES[name],
                    **VARIANT_STYLE[name],
                )
            known = [f"{100 * e:.1f}" for e in errors[group].values() if e is not None]
            axes.set_title(f"{group}: {' → '.join(known) or 'no images'}", fontsize=9.5)
            axes.set(xlim=(0, 100), ylim=(0, 100))
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("confidence, %", fontsize=9.5)
        figure.supylabel("accuracy, %", fontsize=9.5)
        legend_above(figure, grid[0])
    return figure


def _draw(
    axes: Axes,
    history: Sequence[dict[str, Any]],
    series: dict[str, tuple[str, str]],
    *,
    color: str,
    scale: float,
) -> None:
    for key, (label, linestyle) in series.items():
        points = [entry for entry in history if entry.get(key) is not None]
        if points:
            axes.plot(
                [entry["epoch"] + 1 for entry in points],  # as the log counts them
                [scale * entry[key] for entry in points],
                label=label,
                color=color,
                linestyle=linestyle,
            )
