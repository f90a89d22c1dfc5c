"""A study in MLflow: one run, and a child run for each of its cells."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from longtail.files import file_digest
from longtail.io.connection import Tracker, connect
from longtail.io.tracking import (
    allowed,
    experiment,
    finished_run,
    flat_parameters,
    outer_run,
    recording,
)

MAX_TAG_LENGTH = 5000


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
        there = finished_run(tracker, experiment_id=experiment_id, tags=tags)
        if there is not None and outer_run() is None:
            return
        with recording(tracker, experiment_id=experiment_id, tags=tags) as run_id:
            mlflow.log_artifacts(str(report), "study")
            parent = tracker.client.get_run(run_id).info
            for cell in cells:
                _log_cell(tracker, cell, experiment_id=parent.experiment_id, parent=run_id)


def _log_cell(tracker: Tracker, cell: CellRecord, *, experiment_id: str, parent: str) -> None:
    """Log through the client: a nested run would take the outer run's id from the environment."""
    run = tracker.client.create_run(
        experiment_id, run_name=cell.name, tags={MLFLOW_PARENT_RUN_ID: parent}
    )
    now = int(1000 * time.time())
    tags = [] if cell.error is None else [RunTag("error", cell.error[:MAX_TAG_LENGTH])]
    tracker.client.log_batch(
        run.info.run_id,
        params=[Param(key, value) for key, value in flat_parameters(cell.params).items()],
        metrics=[
            Metric("/".join(map(allowed, key.split("/"))), value, now, 0)
            for key, value in cell.metrics.items()
        ],
        tags=tags,
    )
    status = RunStatus.FINISHED if cell.error is None else RunStatus.FAILED
    tracker.client.set_terminated(run.info.run_id, RunStatus.to_string(status))
