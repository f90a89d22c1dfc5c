"""The table of the variants, the same on the page and in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TITLES = {
    "stage1": "Stage 1",
    "stage1_tau": "Stage 1 + tau",
    "stage2": "Stage 2",
    "stage2_tau": "Stage 2 + tau",
}
# In the terminal, in rich's markup: an outcome of the gate, and one of its checks.
COLOURS = {"promote": "green", "hold": "yellow", "reject": "red"}
MARKS = {True: "[green]passed[/]", False: "[red]failed[/]", None: "[yellow]undecided[/]"}
UNKNOWN = "–"  # noqa: RUF001  the dash that stands for "no value"


@dataclass(frozen=True)
class VariantRow:
    """One line: cells in percent for all classes and then each group, e.g. `41.2 [38.9, 43.5]`."""

    variant: str
    title: str
    chosen: bool
    cells: list[str]
    not_applicable: str | None


def percent(share: float | None) -> str:
    """Write a share as percent with one digit, or a dash if it is unknown."""
    return UNKNOWN if share is None else f"{100 * share:.1f}"


def interval_in_percent(interval: Sequence[float] | None) -> str:
    """Write `[38.9, 43.5]`, or nothing if the interval is unknown."""
    return "" if interval is None else f"[{percent(interval[0])}, {percent(interval[1])}]"


def percent_with_interval(share: float | None, interval: Sequence[float] | None) -> str:
    """Write `41.2 [38.9, 43.5]`, or a dash if the share is unknown."""
    return f"{percent(share)} {interval_in_percent(interval)}".rstrip()


def table_columns(report: dict[str, Any]) -> list[str]:
    """Return the headings above the cells of `variant_table`: `all`, then the groups."""
    return ["all", *report["group_names"]]


def variant_table(report: dict[str, Any]) -> list[VariantRow]:
    """Return one row a variant: stage 1, + tau, stage 2, + tau, then the heads of a sweep.

    Args:
        report: content of `report.json`.
    """
    variants = report["variants"]
    swept = [name for name in variants if name not in TITLES]
    return [_row(report, name) for name in [*TITLES, *swept] if name in variants]


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


def _row(report: dict[str, Any], name: str) -> VariantRow:
    variant = report["variants"][name]
    reason = variant.get("not_applicable")
    columns = table_columns(report)
    cells = [UNKNOWN] * len(columns)
    if reason is None:
        groups = [variant["groups"][column] for column in columns]
        cells = [percent_with_interval(g["accuracy"], g["accuracy_interval"]) for g in groups]
    return VariantRow(
        variant=name,
        title=TITLES.get(name, f"Sweep: {name}"),
        chosen=name == report["chosen"],
        cells=cells,
        not_applicable=reason,
    )
