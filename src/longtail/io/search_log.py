"""A search in MLflow: one run, and a child run for each trial."""

from typing import Any

import mlflow

from longtail.artifacts import Search
from longtail.io.tracking import connect, experiment


def log_search(tracking_uri: str, name: str, result: dict[str, Any], files: Search) -> None:
    """Log a finished search to the experiment `name`.

    Args:
        result: content of `search.json`. files: the pictures go along.

    Raises:
        LongtailError: MLflow cannot be reached; the search itself is on disk.
    """
    with connect(tracking_uri) as tracker:
        experiment_id = experiment(tracker, name)
        with mlflow.start_run(experiment_id=experiment_id, run_name="search"):
            best = {key: result[key] for key in ("weight_decay", "tau", "select_by")}
            mlflow.log_params(best)
            scores = {key: result[key] for key in ("score", "score_with_tau")}
            mlflow.log_metrics({key: value for key, value in scores.items() if value is not None})
            mlflow.log_artifacts(str(files.root))
            for row in result["trials"]:
                _log_trial(row, experiment_id)


def _log_trial(row: dict[str, Any], experiment_id: str) -> None:
    name = f"trial {row['number']}"
    with mlflow.start_run(experiment_id=experiment_id, run_name=name, nested=True):
        mlflow.log_param("weight_decay", row["weight_decay"])
        mlflow.set_tags({"state": row["state"], "error": row["error"] or ""})
        for epoch, score in enumerate(row["by_epoch"]):
            mlflow.log_metric("held_out_score", score, step=epoch)
