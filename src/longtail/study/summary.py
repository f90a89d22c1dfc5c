"""The table of a study: means over seeds, intervals, and what differs by more than noise."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from longtail.config.split import SplitConfig
from longtail.config.study import Overrides, StudyConfig
from longtail.metrics import balanced_accuracy_interval
from longtail.report.published import published_rows
from longtail.study.comparing import Case, compare, compare_together
from longtail.study.results import ALL, Row

LEVEL = 0.05
CONFIDENCE = 1 - LEVEL


def summarise(config: StudyConfig, rows: Sequence[Row]) -> dict[str, Any]:
    """Return `groups`, `seeds` and `rows`.

    A row is `{label, values, variant, seeds, accuracy, interval, val, difference, published,
    parameters, multiply_adds, minutes, imbalance_factor, line, by_class}`: `accuracy` is group ->
    `{mean, sd, by_seed}` with a `sd` of null for a single seed, `interval` that of the mean of all,
    `difference` null for the row that others are compared with, and `line` what a row is called
    where imbalance factors stand side by side.
    """
    groups = list(dict.fromkeys(name for row in rows for name in row.first.report["group_names"]))
    references = [_reference(config, row, rows) for row in rows]
    differences = _differences(rows, references)
    return {
        "level": LEVEL,
        "groups": groups,
        "seeds": config.seeds,
        "rows": [
            _entry(config, row, difference, groups)
            for row, difference in zip(rows, differences, strict=True)
        ],
    }


def _entry(
    config: StudyConfig, row: Row, difference: dict[str, Any] | None, groups: Sequence[str]
) -> dict[str, Any]:
    first = row.first
    split = first.cell.params["split"]
    assert isinstance(split, SplitConfig)
    return {
        "label": row.label,
        "values": first.cell.values,
        "variant": first.variant,
        "seeds": row.seeds,
        "accuracy": {group: _mean(row.accuracy(group)) for group in (ALL, *groups)},
        "interval": _interval(row),
        "val": float(np.mean([result.val for result in row.results])),
        "difference": difference,
        "published": _published(config, row.label),
        "parameters": first.representation["parameters"],
        "multiply_adds": first.multiply_adds,
        "minutes": _mean([result.minutes for result in row.results])["mean"],
        "imbalance_factor": None if split.law in ("natural", "given") else split.imbalance_factor,
        "line": _line(config, row),
        "by_class": _by_class(row),
    }


def _interval(row: Row) -> tuple[float, float]:
    if len(row.seeds) == 1 or row.right.all() or not row.right.any():
        images = np.bincount(row.labels)
        correct = np.bincount(row.labels, row.right[0])
        return balanced_accuracy_interval(images, correct, confidence=CONFIDENCE)
    nothing = np.zeros_like(row.right)
    low, high = compare(row.right, nothing, row.labels, confidence=CONFIDENCE).interval
    return max(low, 0.0), min(high, 1.0)


def _line(config: StudyConfig, row: Row) -> str:
    """What a row is called where imbalance factors stand side by side."""
    values = [
        name
        for axis, name in row.first.cell.values.items()
        if not _is_factor_alone(config.axes[axis][name])
    ]
    variant = row.first.variant
    return " / ".join([*values, *([variant] if variant != "stage1" else [])]) or "all"


def _is_factor_alone(overrides: Overrides) -> bool:
    """Whether a value sets the imbalance factor and nothing that changes the method or its data."""
    others = overrides.keys() - {"split.imbalance_factor"}
    return len(others) < len(overrides) and all(key.startswith("validate.") for key in others)


def _mean(by_seed: list[float | None]) -> dict[str, Any]:
    known = [value for value in by_seed if value is not None]
    if not known:
        return {"mean": None, "sd": None, "by_seed": by_seed}
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {"mean": float(np.mean(known)), "sd": sd, "by_seed": by_seed}


def _by_class(row: Row) -> list[dict[str, Any]]:
    """Training images and mean accuracy of every class that has test images."""
    right = row.right.mean(axis=0)
    sizes = np.bincount(row.labels)
    accuracy = np.bincount(row.labels, right) / np.maximum(sizes, 1)
    classes = row.first.report["classes"]
    return [
        {"train": entry["train"], "accuracy": float(accuracy[label])}
        for label, entry in enumerate(classes)
        if entry["test"]
    ]


def _published(config: StudyConfig, label: str) -> dict[str, Any] | None:
    key = config.published.get(label)
    return None if key is None else asdict(published_rows([key])[0])


def _reference(config: StudyConfig, row: Row, rows: Sequence[Row]) -> Row | None:
    """The row that this one is compared with: another value on the reference's axes."""
    fixed = config.reference
    if fixed is None:
        fixed = {axis: next(iter(values)) for axis, values in list(config.axes.items())[:1]}
    wanted = {**row.first.cell.values, **fixed}
    there = {other.first.variant: other for other in rows if other.first.cell.values == wanted}
    other = there.get("stage1") or there.get(row.first.variant)
    return None if other is row else other


def _differences(
    rows: Sequence[Row], references: Sequence[Row | None]
) -> list[dict[str, Any] | None]:
    """Compare each row with its reference; p-values hold together over all of them."""
    cases = [
        None if reference is None else _case(row, reference)
        for row, reference in zip(rows, references, strict=True)
    ]
    found = iter(compare_together([case for case in cases if case is not None]))
    return [
        None
        if case is None or reference is None
        else {**asdict(next(found)), "reference": reference.label}
        for case, reference in zip(cases, references, strict=True)
    ]


def _case(row: Row, reference: Row) -> Case | None:
    """By the seeds that both have; None on different test images."""
    digests = {r.first.report["test"]["digest"] for r in (row, reference)}
    seeds = [seed for seed in row.seeds if seed in reference.seeds]
    if len(digests) > 1 or not seeds:
        return None
    ours, theirs = (r.right[[r.seeds.index(seed) for seed in seeds]] for r in (row, reference))
    return ours, theirs, row.labels
