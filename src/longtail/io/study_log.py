"""A study in MLflow: one run, and a child run for each of its cells."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, RunInfo, RunStatus

from longtail.files import file_digest
from longtail.io.connection import Tracker, connect
from longtail.io.tracking import (
    child_run,
    earlier_run,
    experiment,
    flat_parameters,
    recording,
)


@dataclass(frozen=True)
class CellRecord:
    """A cell that has ended: what it was, and the test metrics of its variants or its error."""

    name: str
    params: dict[str, Any]  # nested: axes by name, and the sections
    metrics: dict[str, float]
    error: str | None


def log_study(
    tracking_uri: str, name: str, study: str, *, cells: Sequence[CellRecord], report: Path
) -> None:
    """Log a report and its cells to the experiment `name`, unless it is there already.

    Args:
        study: name of the study. report: directory with `study.json`.

    Raises:
        LongtailError: MLflow cannot be reached; the report itself is on disk.
    """
    tags = {"study": study, "study_digest": file_digest(report / "study.json")}
    with connect(tracking_uri) as tracker:
        experiment_id = experiment(tracker, name)
        if earlier_run(tracker, experiment_id=experiment_id, tags=tags) is not None:
            return
        with recording(tracker, experiment_id=experiment_id, tags=tags) as run_id:
            mlflow.log_artifacts(str(report), "study")
            parent = tracker.client.get_run(run_id).info
            for cell in cells:
                _log_cell(tracker, cell, parent)


def _log_cell(tracker: Tracker, cell: CellRecord, parent: RunInfo) -> None:
    now = int(1000 * time.time())
    child_run(
        tracker,
        parent,
        name=cell.name,
        params=flat_parameters(cell.params),
        metrics=[Metric(key, value, now, 0) for key, value in cell.metrics.items()],
        tags={} if cell.error is None else {"error": cell.error},
        status=RunStatus.FINISHED if cell.error is None else RunStatus.FAILED,
    )
