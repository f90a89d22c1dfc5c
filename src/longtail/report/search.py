"""Pictures of a search: what each weight decay gave, and how the trials learnt."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from longtail.report.style import INK, VARIANT_STYLE, new_figure, styled

FINISHED, PRUNED = VARIANT_STYLE["stage1"]["color"], VARIANT_STYLE["stage2"]["color"]


def plot_search(result: dict[str, Any]) -> Figure:
    """Draw the score of each trial against its weight decay; pruned ones by their last epoch."""
    with styled():
        figure, axes = new_figure(height=3.2)
        for state, color, marker, label in (
            ("COMPLETE", FINISHED, "o", "finished"),
            ("PRUNED", PRUNED, "x", "pruned, score when it ended"),
        ):
            rows = [row for row in result["trials"] if row["state"] == state and row["by_epoch"]]
            decays = [row["weight_decay"] for row in rows]
            scores = [100 * max(row["by_epoch"]) for row in rows]
            axes.plot(decays, scores, linestyle="", marker=marker, color=color, label=label)
        axes.axvline(result["weight_decay"], color=INK, linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_xlabel(f"weight decay (best: {result['weight_decay']:.2g})")
        axes.set_ylabel(f"{result['select_by'].replace('_', ' ')}, held out, %")
        axes.legend()
    return figure


def plot_tau(result: dict[str, Any]) -> Figure:
    """Draw the held-out score of the best trial's head against tau."""
    with styled():
        figure, axes = new_figure(height=3.2)
        rows = sorted(result["tau_trials"], key=lambda row: float(row["tau"]))
        taus, scores = [row["tau"] for row in rows], [100 * row["score"] for row in rows]
        axes.plot(taus, scores, marker="o", color=FINISHED)
        axes.axvline(result["tau"], color=INK, linewidth=0.8, linestyle=":")
        axes.set_xlabel(f"tau (best: {result['tau']:.2f})")
        axes.set_ylabel(f"{result['select_by'].replace('_', ' ')}, held out, %")
    return figure


def plot_learning(result: dict[str, Any]) -> Figure:
    """Draw the held-out score of every trial by epoch, the best one in bold."""
    with styled():
        figure, axes = new_figure(height=3.2)
        for row in result["trials"]:
            best = row["weight_decay"] == result["weight_decay"]
            axes.plot(
                range(1, len(row["by_epoch"]) + 1),
                [100 * score for score in row["by_epoch"]],
                color=FINISHED if row["state"] == "COMPLETE" else PRUNED,
                linewidth=2.4 if best else 0.9,
                alpha=1.0 if best else 0.6,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{result['select_by'].replace('_', ' ')}, held out, %")
    return figure
