"""What the finished cells of a study gave: a row a method, over its seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longtail.artifacts import Evaluation, Representation, TauNorm
from longtail.config.params import LEARNING
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.io.study_log import CellRecord
from longtail.report.material import multiply_adds
from longtail.study.comparing import Bools
from longtail.study.grid import Cell
from longtail.study.runner import State

ALL = "all"


@dataclass(frozen=True)
class Result:
    """One variant of one cell."""

    cell: Cell
    variant: str
    evaluation: Evaluation
    tau_norm: TauNorm
    representation: dict[str, Any]
    report: dict[str, Any]
    minutes: float | None  # of stage 1 and all that follows; null where nobody noted them

    @property
    def label(self) -> str:
        """What its row is called: the cell, and which head if it is not stage 1's."""
        return self.cell.row if self.variant == "stage1" else f"{self.cell.row} / {self.variant}"

    @property
    def metrics(self) -> dict[str, Any]:
        """`all` or a group -> metrics on the test split."""
        groups: dict[str, Any] = self.report["variants"][self.variant]["groups"]
        return groups

    @property
    def val(self) -> float:
        """Balanced accuracy on val."""
        choice = read_json(self.tau_norm.choice)["variants"][self.variant]
        return float(choice["val_balanced_accuracy"])

    @property
    def multiply_adds(self) -> int:
        """Of one answer."""
        return multiply_adds(self.representation, read_json(self.tau_norm.choice))


@dataclass(frozen=True)
class Row:
    """One method: the same cell and variant for several seeds."""

    label: str
    results: list[Result]

    @property
    def first(self) -> Result:
        """Any one of them: what does not depend on the seed."""
        return self.results[0]

    @cached_property
    def right(self) -> Bools:
        """Which test images it has right, `[S, N]`; the images in the order of `labels`."""
        return np.stack([_right(result) for result in self.results])

    @cached_property
    def labels(self) -> NDArray[np.integer]:
        """Labels `[N]` of the test images."""
        return np.asarray(_predictions(self.first)["label"])

    def accuracy(self, group: str) -> list[float | None]:
        """Balanced accuracy of all classes, or the accuracy of a group, null without any."""
        metric = "balanced_accuracy" if group == ALL else "accuracy"
        measured = [result.metrics.get(group, {}) for result in self.results]
        return [metrics.get(metric) for metrics in measured]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the results, in the same order."""
        return [result.cell.seed for result in self.results]


def rows(states: Sequence[State], *, variants: Sequence[str] | None) -> list[Row]:
    """Return the rows of all finished cells, in the order of the grid.

    Raises:
        LongtailError: no cell is done, or none has one of these variants.
    """
    done = [state for state in states if state.name == "done"]
    if not done:
        raise LongtailError("no cell of the study is done; start it with `longtail study run`")
    found: dict[str, list[Result]] = {}
    for state in done:
        for result in _results(state, variants):
            found.setdefault(result.label, []).append(result)
    if not found:
        raise LongtailError(
            f"no finished cell has one of the variants {', '.join(variants or ())}; name others, "
            "or set classify.method: sweep, which has a variant for every head"
        )
    return [Row(label, results) for label, results in found.items()]


def record(state: State) -> CellRecord:
    """Return what MLflow keeps of a cell that has ended."""
    metrics = {
        f"{result.variant}/{group}/{metric}": value
        for result in (_results(state, None) if state.name == "done" else [])
        for group, measured in result.metrics.items()
        for metric in ("accuracy", "balanced_accuracy")
        if (value := measured[metric]) is not None
    }
    cell = state.cell
    params = {name: section.model_dump(mode="json") for name, section in cell.params.items()}
    return CellRecord(cell.name, {**cell.values, **params}, metrics, state.error)


def _results(state: State, variants: Sequence[str] | None) -> list[Result]:
    evaluation = Evaluation(state.tasks["evaluate"].out)
    report = read_json(evaluation.report)
    representation = read_json(Representation(state.tasks["represent"].out).description)
    minutes = _minutes(state)
    known = [name for name, found in report["variants"].items() if "groups" in found]
    return [
        Result(
            cell=state.cell,
            variant=name,
            evaluation=evaluation,
            tau_norm=TauNorm(state.tasks["tau_norm"].out),
            representation=representation,
            report=report,
            minutes=minutes,
        )
        for name in (variants if variants is not None else known)
        if name in known
    ]


def _minutes(state: State) -> float | None:
    """Of the work itself: what one cell did for others counts for each of them."""
    files = [state.tasks[step].cost / f"{step}.json" for step in LEARNING]
    if not all(file.is_file() for file in files):
        return None
    return sum(float(read_json(file)["wall_seconds"]) for file in files) / 60


def _right(result: Result) -> Bools:
    table = _predictions(result)
    return np.asarray(table[f"{result.variant}_prediction"] == table["label"])


def _predictions(result: Result) -> pd.DataFrame:
    columns = ["index", "label", f"{result.variant}_prediction"]
    table = pd.read_parquet(result.evaluation.predictions, columns=columns)
    return table.sort_values("index", ignore_index=True)
