"""A rule as data: an expectation about every row of one table, with level, bound and fix."""

from dataclasses import dataclass
from typing import Any, Literal

from great_expectations import expectations as gxe

Level = Literal["error", "warning"]
_SEVERITY = {"error": "critical", "warning": "warning"}


@dataclass(frozen=True)
class Rule:
    """What must hold for every row of `table`; a row that breaks it is an offender.

    An offender is described by the columns `show` and `columns`, which the expectation is about.
    """

    name: str
    table: str
    level: Level
    bound: str
    fix: str
    show: tuple[str, ...]
    columns: tuple[str, ...]
    expectation: Any


def equal(name: str, table: str, columns: tuple[str, str], **rest: Any) -> Rule:
    """Return the rule that two columns are equal."""
    pair = {"column_A": columns[0], "column_B": columns[1]}
    return _rule(name, table, columns, gxe.ExpectColumnPairValuesToBeEqual, pair, **rest)


def unique(name: str, table: str, column: str, **rest: Any) -> Rule:
    """Return the rule that no value occurs twice."""
    expectation = gxe.ExpectColumnValuesToBeUnique
    return _rule(name, table, (column,), expectation, {"column": column}, **rest)


def in_set(name: str, table: str, column: str, values: list[Any], **rest: Any) -> Rule:
    """Return the rule that every value is one of `values`."""
    arguments = {"column": column, "value_set": values}
    return _rule(name, table, (column,), gxe.ExpectColumnValuesToBeInSet, arguments, **rest)


def between(
    name: str,
    table: str,
    column: str,
    *,
    low: int | None = None,
    high: int | None = None,
    **rest: Any,
) -> Rule:
    """Return the rule that every value is at least `low` and at most `high`."""
    arguments = {"column": column, "min_value": low, "max_value": high}
    return _rule(name, table, (column,), gxe.ExpectColumnValuesToBeBetween, arguments, **rest)


def _rule(
    name: str,
    table: str,
    columns: tuple[str, ...],
    expectation: Any,
    arguments: dict[str, Any],
    *,
    bound: str,
    fix: str,
    show: tuple[str, ...],
    level: Level = "error",
) -> Rule:
    built = expectation(
        description=f"{name}: {bound}",
        notes=fix,
        severity=_SEVERITY[level],
        meta={"rule": name},
        **arguments,
    )
    return Rule(name, table, level, bound, fix, show, columns, built)
