"""How pictures look, and their two formats: PNG for files, SVG that follows the page's theme."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1c2b33"
LINE = "#d5dde2"
THEMED = {INK: "var(--ink)", LINE: "var(--line)"}
# Okabe and Ito's colours, which stay apart for every kind of colour vision: a hue a stage.
VARIANT_STYLE: dict[str, dict[str, Any]] = {
    "stage1": {"color": "#0072b2", "marker": "o", "linestyle": "-"},
    "stage1_tau": {"color": "#56b4e9", "marker": "s", "linestyle": "--"},
    "stage2": {"color": "#d55e00", "marker": "^", "linestyle": "-"},
    "stage2_tau": {"color": "#e69f00", "marker": "D", "linestyle": "--"},
}
GROUP_COLORS = ("#7b5ea7", "#2a9d8f", "#d4b83a", "#aa3377", "#8c8c3c", "#66aadd")
LEGEND_LETTERS = 50  # on a line above a figure
WIDTH = 4.3  # inches: on a telephone a point of text is then about a pixel
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the layout is the same everywhere
    "font.size": 9.5,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",  # text stays text: small, sharp, and readable by screen readers
    "text.color": INK,
    "text.parse_math": False,  # a class may be called $5
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.6,
    "ytick.labelsize": 8.6,
}


@contextmanager
def styled() -> Iterator[None]:
    """Use matplotlib's own defaults and `STYLE`, whatever a user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def new_figure(*, height: float = 3.5) -> tuple[Figure, Axes]:
    """Return a figure of the width at which its text is readable on a telephone, and its axes."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots()


def legend_above(figure: Figure, axes: Axes) -> None:
    """Put the legend of `axes` above them, clear of the data, as many entries a line as fit."""
    handles, labels = axes.get_legend_handles_labels()
    fit = LEGEND_LETTERS // (max(map(len, labels)) + 7)
    figure.legend(handles, labels, loc="outside upper left", ncols=max(1, min(fit, len(labels))))


def group_color(position: int) -> str:
    """Return the colour of the group at this position, from most to least images."""
    return GROUP_COLORS[position % len(GROUP_COLORS)]


def png(figure: Figure) -> bytes:
    """Render a picture; the same bytes for the same figure."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(
            buffer, format="png", dpi=160, facecolor="white", metadata={"Software": None}
        )
    return buffer.getvalue()


def svg(figure: Figure, *, name: str, description: str) -> str:
    """Render an `<svg>` element for the page; its ink and lines take the page's colours.

    Args:
        name: keeps the ids of this picture apart from those of others on the page.
        description: what a screen reader says.
    """
    buffer = io.StringIO()
    with styled():
        matplotlib.rcParams["svg.hashsalt"] = name
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    picture = buffer.getvalue()
    picture = picture[picture.index("<svg ") :]
    picture = re.sub(r"<metadata>.*?</metadata>", "", picture, flags=re.DOTALL)
    picture = re.sub(r' (?:width|height)="[\d.]+pt"', "", picture, count=2)
    used = set(re.findall(r"#([\w.-]+)", picture))  # the others would clash between pictures
    picture = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", picture)
    picture = picture.replace("'DejaVu Sans'", "var(--sans)")
    for color, variable in THEMED.items():
        picture = picture.replace(color, variable)
    return picture.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)
