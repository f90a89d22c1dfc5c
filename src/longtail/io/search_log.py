"""A search in MLflow: one run, and a child run for each weight decay that was tried."""

import time
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from longtail.artifacts import Search
from longtail.files import content_digest
from longtail.io.connection import Tracker, connect
from longtail.io.tracking import experiment, finished_run, outer_run, recording

STATUS = {
    "COMPLETE": RunStatus.FINISHED,
    "PRUNED": RunStatus.KILLED,
    "FAIL": RunStatus.FAILED,
}
BATCH = 1000  # metrics that MLflow takes in one call
MAX_TAG_LENGTH = 5000


def log_search(tracking_uri: str, name: str, result: dict[str, Any], files: Search) -> None:
    """Log a finished search to the experiment `name`, unless it is there already.

    Args:
        result: content of `search.json`. files: the pictures go along.

    Raises:
        LongtailError: MLflow cannot be reached; the search itself is on disk.
    """
    tags = {"search": content_digest(result)}
    with connect(tracking_uri) as tracker:
        experiment_id = experiment(tracker, name)
        there = finished_run(tracker, experiment_id=experiment_id, tags=tags)
        if there is not None and outer_run() is None:
            return
        with recording(tracker, experiment_id=experiment_id, tags=tags) as run_id:
            best = {key: result[key] for key in ("weight_decay", "tau", "select_by")}
            mlflow.log_params(best)
            scores = {key: result[key] for key in ("score", "score_with_tau")}
            mlflow.log_metrics({key: value for key, value in scores.items() if value is not None})
            mlflow.log_artifacts(str(files.root), "search")
            parent = tracker.client.get_run(run_id).info
            for row in result["trials"]:
                _log_trial(tracker, row, experiment_id=parent.experiment_id, parent=run_id)


def _log_trial(tracker: Tracker, row: dict[str, Any], *, experiment_id: str, parent: str) -> None:
    """Log through the client: a nested run would take the outer run's id from the environment."""
    run = tracker.client.create_run(
        experiment_id, run_name=f"trial {row['number']}", tags={MLFLOW_PARENT_RUN_ID: parent}
    )
    now = int(1000 * time.time())
    tags = {"state": row["state"], "error": (row["error"] or "")[:MAX_TAG_LENGTH]}
    metrics = [Metric("held_out", score, now, step) for step, score in enumerate(row["by_epoch"])]
    run_id = run.info.run_id
    tracker.client.log_batch(
        run_id,
        params=[Param("weight_decay", str(row["weight_decay"]))],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    for start in range(0, len(metrics), BATCH):
        tracker.client.log_batch(run_id, metrics=metrics[start : start + BATCH])
    tracker.client.set_terminated(run_id, RunStatus.to_string(STATUS[row["state"]]))
