"""A search in MLflow: one run, and a child run for each weight decay that was tried."""

import time
from typing import Any

import mlflow
from mlflow.entities import Metric, RunInfo, RunStatus

from longtail.artifacts import Search
from longtail.files import content_digest
from longtail.io.connection import Tracker, connect
from longtail.io.tracking import child_run, earlier_run, experiment, recording

STATUS = {
    "COMPLETE": RunStatus.FINISHED,
    "PRUNED": RunStatus.KILLED,
    "FAIL": RunStatus.FAILED,
}


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
        if earlier_run(tracker, experiment_id=experiment_id, tags=tags) is not None:
            return
        with recording(tracker, experiment_id=experiment_id, tags=tags) as run_id:
            best = {key: result[key] for key in ("weight_decay", "tau", "select_by")}
            mlflow.log_params(best)
            scores = {key: result[key] for key in ("score", "score_with_tau")}
            mlflow.log_metrics({key: value for key, value in scores.items() if value is not None})
            mlflow.log_artifacts(str(files.root), "search")
            parent = tracker.client.get_run(run_id).info
            for row in result["trials"]:
                _log_trial(tracker, row, parent)


def _log_trial(tracker: Tracker, row: dict[str, Any], parent: RunInfo) -> None:
    now = int(1000 * time.time())
    child_run(
        tracker,
        parent,
        name=f"trial {row['number']}",
        params={"weight_decay": str(row["weight_decay"])},
        metrics=[
            Metric("held_out", score, now, step) for step, score in enumerate(row["by_epoch"])
        ],
        tags={"state": row["state"], "error": row["error"] or ""},
        status=STATUS[row["state"]],
    )
