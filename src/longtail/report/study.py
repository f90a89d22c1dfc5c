"""Pictures and page of a study; everything is in its summary, see `longtail.study.summary`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from longtail.files import whole_directory, write_json
from longtail.report import words
from longtail.report.environment import environment
from longtail.report.ranking import running_mean
from longtail.report.style import INK, new_figure, styled, svg

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1c2b33", "#8c8c3c")
MARKERS = "osD^vPX*"
DASHES = ("-", "--", ":", "-.")
DRAWN = 8  # rows with a line of their own; more would be a tangle
TRADE_OFF_NOTE = (
    "Numbers are those of the table. On the dotted line nothing else is better in both groups."
)
BY_CLASS_NOTE = (
    "The methods that are best on val, with the table's numbers; a running mean over a tenth of "
    "the classes."
)
BY_FACTOR_NOTE = (
    "Balanced accuracy; a line for what differs in nothing else, of those that are best on val."
)


def write_study(name: str, summary: dict[str, Any], *, out: Path) -> None:
    """Write `study.json`, `study.md` and `index.html`."""
    with whole_directory(out) as directory:
        write_json(directory / "study.json", summary)
        (directory / "study.md").write_text(markdown(summary), encoding="utf-8")
        (directory / "index.html").write_text(page(name, summary), encoding="utf-8")


def page(name: str, summary: dict[str, Any]) -> str:
    """Return the self-contained HTML page."""
    return (
        environment(escape=True)
        .get_template("study.html")
        .render(
            name=name,
            summary=summary,
            groups=["all", *summary["groups"]],
            noise=within_noise,
            printed=printed,
            pictures=_pictures(summary),
            of_one_seed=_of_one_seed(summary),
            words=words,
        )
    )


def _of_one_seed(summary: dict[str, Any]) -> str:
    """What one seed leaves open, or nothing; a row may have one because others are yet to run."""
    single = [
        len(row["seeds"]) == 1 or (row["difference"] or {}).get("seeds") == 1
        for row in summary["rows"]
    ]
    if not any(single):
        return ""
    which = "One seed" if all(single) else f"One seed for {sum(single)} rows or their differences"
    return (
        f"{which}: the intervals say how the numbers would vary with other test images; how they "
        "would vary with another seed is not known here."
    )


def _pictures(summary: dict[str, Any]) -> dict[str, dict[str, str]]:
    plots = {
        "many-few": (plot_trade_off, "What the rare classes cost", TRADE_OFF_NOTE),
        "by-class": (plot_by_class, "Accuracy by rank of the class", BY_CLASS_NOTE),
        "by-factor": (plot_by_factor, "Accuracy by imbalance factor", BY_FACTOR_NOTE),
    }
    points = {(row["line"], row["imbalance_factor"]) for row in summary["rows"]}
    if max(Counter(line for line, factor in points if factor is not None).values(), default=0) < 2:
        del plots["by-factor"]  # there is no line to draw
    return {
        key: {"title": title, "note": note, "svg": svg(plot(summary), name=key, description=title)}
        for key, (plot, title, note) in plots.items()
    }


def markdown(summary: dict[str, Any]) -> str:
    """Return the table as Markdown, accuracies in percent."""
    groups = ["all", *summary["groups"]]
    head = ["method", "seeds", *groups, "95 % of all", "against the reference", "published"]
    head += ["minutes", "parameters", "MACs"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in summary["rows"]:
        low, high = row["interval"]
        published = row["published"]
        lines.append(
            _line(
                [
                    row["label"],
                    str(len(row["seeds"])),
                    *(_percent(row["accuracy"][group]) for group in groups),
                    f"{100 * low:.1f} .. {100 * high:.1f}",
                    _difference(row["difference"], summary["level"]),
                    "" if published is None else printed(published),
                    "-" if row["minutes"] is None else f"{row['minutes']:.0f}",
                    f"{row['parameters']:,}",
                    f"{row['multiply_adds']:,}",
                ]
            )
        )
    notes = [
        f"- {row['label']}: {printed(published)} in {published['source']}; "
        f"{published['difference']}"
        for row in summary["rows"]
        if (published := row["published"]) is not None
    ]
    if note := _of_one_seed(summary):
        lines += ["", note]
    return "\n".join([*lines, *(["", "Published:", "", *notes] if notes else [])]) + "\n"


def printed(published: dict[str, Any]) -> str:
    """What a paper prints: the accuracy, or where it has none those of head and tail."""
    parts = [f"{part} {published[part]}" for part in ("head", "tail") if published[part]]
    return published["accuracy"] or " / ".join(parts)


def within_noise(difference: dict[str, Any], level: float) -> bool:
    """Whether a difference may be chance: its p-value is not below the level."""
    return bool(difference["p"] >= level)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of points that no other beats in one coordinate without losing the other.

    Ordered by the first coordinate.
    """
    front = [
        i
        for i, (x, y) in enumerate(points)
        if not any((a >= x and b >= y and (a, b) != (x, y)) for a, b in points)
    ]
    return sorted(front, key=lambda i: points[i])


def plot_trade_off(summary: dict[str, Any]) -> Figure:
    """Draw the last group's accuracy against the first one's, the Pareto front as a line."""
    many, few = summary["groups"][0], summary["groups"][-1]
    points = {
        position: (100 * accuracy[many]["mean"], 100 * accuracy[few]["mean"])
        for position, accuracy in enumerate(row["accuracy"] for row in summary["rows"])
        if None not in (accuracy[many]["mean"], accuracy[few]["mean"])
    }
    with styled():
        figure, axes = new_figure(height=3.8)
        known = list(points.values())
        front = [known[i] for i in pareto_front(known)]
        axes.plot(*zip(*front, strict=True), color=INK, linewidth=0.8, linestyle=":")
        for position, place in points.items():
            axes.plot(*place, **_style(position), linestyle="")
            number = str(1 + position)
            axes.annotate(number, place, (4, 3), textcoords="offset points", fontsize=8)
        axes.set_xlabel(f"{many}, %")
        axes.set_ylabel(f"{few}, %")
    return figure


def plot_by_class(summary: dict[str, Any]) -> Figure:
    """Draw the accuracy of each class by its rank, a running mean, for the best rows on val."""
    rows = sorted(enumerate(summary["rows"]), key=lambda pair: -pair[1]["val"])[:DRAWN]
    with styled():
        figure, axes = new_figure(height=4.4)
        for position, row in rows:
            ranked = sorted(row["by_class"], key=lambda entry: -entry["train"])
            mean = running_mean(np.array([100 * entry["accuracy"] for entry in ranked]))
            axes.plot(
                np.arange(1, len(mean) + 1),
                mean,
                color=_style(position)["color"],
                linestyle=DASHES[position // len(COLORS) % len(DASHES)],
                label=f"{1 + position} {row['label']}",
            )
        axes.set_xlabel("class, from most to least training images")
        axes.set_ylabel("accuracy, %")
        _legend_below(figure, axes)
    return figure


def plot_by_factor(summary: dict[str, Any]) -> Figure:
    """Draw accuracy against the imbalance factor: a line for what differs in nothing else."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in sorted(summary["rows"], key=lambda row: -row["val"]):
        if row["imbalance_factor"] is not None:
            point = (row["imbalance_factor"], 100 * row["accuracy"]["all"]["mean"])
            lines.setdefault(row["line"], []).append(point)
    factors = sorted({factor for points in lines.values() for factor, _ in points})
    with styled():
        figure, axes = new_figure(height=4.4)
        for i, (label, points) in enumerate(list(lines.items())[:DRAWN]):
            axes.plot(*zip(*sorted(points), strict=True), **_style(i), label=label)
        axes.set_xscale("log")
        axes.set_xlabel("imbalance factor")
        axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
        axes.minorticks_off()
        axes.set_ylabel("accuracy, %")
        _legend_below(figure, axes)
    return figure


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, fontsize=7)


def _style(position: int) -> dict[str, Any]:
    """Colour and marker of what stands at this position; a row's are those of its number."""
    return {
        "color": COLORS[position % len(COLORS)],
        "marker": MARKERS[position // len(COLORS) % len(MARKERS)],
    }


def _percent(value: dict[str, Any]) -> str:
    if value["mean"] is None:
        return "-"
    spread = "" if value["sd"] is None else f" ± {100 * value['sd']:.1f}"
    return f"{100 * value['mean']:.1f}{spread}"


def _difference(difference: dict[str, Any] | None, level: float) -> str:
    if difference is None:
        return "-"
    noise = " (noise)" if within_noise(difference, level) else ""
    return f"{100 * difference['value']:+.1f}{noise}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
