"""Great Expectations on the tables: one suite per table, built from the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig

from longtail.validation.rule import Level, Rule

SHOWN = 20


@dataclass(frozen=True)
class Outcome:
    """A rule's result: `value` counts the offenders, `offenders` describes the first of them.

    `passed` and `value` are null for a rule that could not be judged.
    """

    name: str
    table: str
    level: Level
    passed: bool | None
    value: int | None
    bound: str
    offenders: list[str]
    fix: str


@dataclass(frozen=True)
class Judgement:
    """Outcomes in the order of the rules, and Great Expectations' own result for each table."""

    outcomes: list[Outcome]
    results: dict[str, Any]


def judge(rules: Sequence[Rule], tables: Mapping[str, pd.DataFrame]) -> Judgement:
    """Judge the rules about the given tables; a rule whose table is missing is not judged."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("tables")
    results = {
        name: _validate(source, name, table, [rule for rule in rules if rule.table == name])
        for name, table in tables.items()
    }
    found = {
        entry.expectation_config.meta["rule"]: entry
        for result in results.values()
        for entry in result.results
    }
    outcomes = [_outcome(rule, found.get(rule.name), tables.get(rule.table)) for rule in rules]
    return Judgement(outcomes, results)


def _validate(source: Any, name: str, table: pd.DataFrame, rules: Sequence[Rule]) -> Any:
    asset = source.add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": table})
    suite = gx.ExpectationSuite(name=name, expectations=[rule.expectation for rule in rules])
    # Values, not positions: for a million offenders Great Expectations needs two minutes to list
    # their positions.
    wanted = {"result_format": "SUMMARY", "partial_unexpected_count": SHOWN}
    return batch.validate(suite, result_format=wanted)


def _outcome(rule: Rule, entry: Any, table: pd.DataFrame | None) -> Outcome:
    facts = (rule.name, rule.table, rule.level)
    if entry is None or table is None:
        return Outcome(*facts, None, None, rule.bound, [], rule.fix)
    if entry.exception_info["raised_exception"]:
        raise RuntimeError(f"rule {rule.name}: {entry.exception_info['exception_message']}")
    value = int(entry.result["unexpected_count"])
    offenders = _describe(rule, entry.result["partial_unexpected_list"], table)
    return Outcome(*facts, bool(entry.success), value, rule.bound, offenders, rule.fix)


def _describe(rule: Rule, values: list[Any], table: pd.DataFrame) -> list[str]:
    """The first rows that have one of the bad values, as text."""
    if not values:
        return []
    pair = len(rule.columns) == 2
    cells = pd.MultiIndex.from_frame(table[list(rule.columns)]) if pair else table[rule.columns[0]]
    bad = np.asarray(cells.isin(values))
    columns = list(dict.fromkeys([*rule.show, *rule.columns]))
    rows = table.loc[bad, columns].head(SHOWN)
    return [
        ", ".join(f"{name} {value}" for name, value in zip(columns, row, strict=True))
        for row in rows.itertuples(index=False, name=None)
    ]
