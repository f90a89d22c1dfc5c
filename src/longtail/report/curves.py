"""Pictures of curves: training, the tau grid and calibration."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from longtail.report.style import INK, VARIANT_STYLE, new_figure, styled
from longtail.report.table import TITLES

LOSSES = {"train_loss": ("train", "-"), "val_loss": ("val", "--")}
SCORES = {"train_accuracy": ("train", "-"), "val_balanced_accuracy": ("val, balanced", "--")}


def plot_training(history: Sequence[dict[str, Any]], *, color: str) -> Figure:
    """Draw loss and accuracy by epoch, training solid and validation dashed."""
    with styled():
        figure = Figure(figsize=(5.4, 3.2))
        left, right = figure.subplots(1, 2)
        _draw(left, history, LOSSES, color=color, scale=1.0)
        _draw(right, history, SCORES, color=color, scale=100.0)
        left.set_ylabel("loss")
        left.set_ylim(bottom=0)
        right.set_ylabel("accuracy, %")
        for axes in (left, right):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.legend()
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
        axes.legend()
    return figure


def plot_reliability(
    bins: dict[str, list[dict[str, Any]]], errors: dict[str, float | None]
) -> Figure:
    """Draw accuracy against confidence in bins; bins of fewer than 5 images are left out.

    Args:
        bins: variant -> bins `{images, confidence, accuracy}`.
        errors: variant -> calibration error.
    """
    with styled():
        figure, axes = new_figure(height=3.8)
        axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8)
        for name, filled in bins.items():
            points = [b for b in filled if b["images"] >= 5]
            axes.plot(
                [100 * b["confidence"] for b in points],
                [100 * b["accuracy"] for b in points],
                label=f"{TITLES[name]}: error {100 * (errors[name] or 0.0):.1f}",
                **VARIANT_STYLE[name],
            )
        axes.set_xlabel("confidence, %")
        axes.set_ylabel("accuracy, %")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.legend()
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
                [entry["epoch"] for entry in points],
                [scale * entry[key] for entry in points],
                label=label,
                color=color,
                linestyle=linestyle,
            )
