"""MLflow runs: one for every candidate that the gate judged."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Metric, Param, RunInfo, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from longtail.errors import masked
from longtail.io.connection import Tracker
from longtail.io.database import opening, sqlite_file

EVALUATION = "evaluation"
GROUPS, ACCURACIES = "groups", ("accuracy", "balanced_accuracy")
MAX_PARAMETER_LENGTH = 6000
MAX_TAG_LENGTH = 5000
MAX_DIGEST_LENGTH = 36


def experiment(tracker: Tracker, name: str) -> str:
    """Return the id of the experiment, made if need be.

    The artifacts of a local database lie in `mlruns` beside it.
    """
    found = tracker.client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    with opening(tracker.uri):
        try:
            location = artifact_location(tracker)
            return str(tracker.client.create_experiment(name, artifact_location=location))
        except MlflowException as error:  # somebody else was first
            found = tracker.client.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
            return str(found.experiment_id)


def artifact_location(tracker: Tracker) -> str | None:
    """Return where artifacts of new experiments go: beside a local database; else None."""
    database = sqlite_file(tracker.uri)
    return None if database is None else (database.resolve().parent / "mlruns").as_uri()


def earlier_run(tracker: Tracker, *, experiment_id: str, tags: Mapping[str, str]) -> str | None:
    """Return the id of the earliest finished run that has all of these tags.

    None, too, where whoever started this process wants the results in a run of theirs.
    """
    if _outer_run() is not None:
        return None
    clauses = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    found = tracker.client.search_runs(
        [experiment_id],
        filter_string=" and ".join([*clauses, "attributes.status = 'FINISHED'"]),
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    return str(found[0].info.run_id) if found else None


def logged_model(tracker: Tracker, run_id: str) -> str | None:
    """Return the id of the model that a run logged last, or None."""
    outputs = tracker.client.get_run(run_id).outputs
    models = outputs.model_outputs if outputs else []
    return str(models[-1].model_id) if models else None


@contextmanager
def recording(tracker: Tracker, *, experiment_id: str, tags: Mapping[str, str]) -> Iterator[str]:
    """Yield the id of the active run: the outer one, else a new one in the experiment.

    An outer run belongs to whoever started it: its status is left as it was found.
    """
    outer = _outer_run()
    if outer is None:
        with mlflow.start_run(experiment_id=experiment_id, tags=dict(tags)) as run:
            yield str(run.info.run_id)
        return
    status = tracker.client.get_run(outer).info.status
    try:
        with mlflow.start_run(run_id=outer, tags=dict(tags)):
            yield outer
    finally:
        os.environ["MLFLOW_RUN_ID"] = outer  # MLflow drops it when it ends the run
        tracker.client.update_run(outer, status=status)


def child_run(
    tracker: Tracker,
    parent: RunInfo,
    *,
    name: str,
    params: Mapping[str, str],
    metrics: Sequence[Metric],
    tags: Mapping[str, str],
    status: int,
) -> None:
    """Log a run that has ended below another, tags cut to what MLflow takes.

    Through the client: a nested run would take the outer run's id from the environment.
    """
    run = tracker.client.create_run(
        parent.experiment_id, run_name=name, tags={MLFLOW_PARENT_RUN_ID: parent.run_id}
    )
    tracker.client.log_batch(
        run.info.run_id,
        params=[Param(key, value) for key, value in params.items()],
        metrics=metrics,
        tags=[RunTag(key, value[:MAX_TAG_LENGTH]) for key, value in tags.items()],
    )
    tracker.client.set_terminated(run.info.run_id, RunStatus.to_string(status))


def log_parameters(params: Mapping[str, Any]) -> None:
    """Log nested parameters of the active run under dotted names, passwords masked."""
    mlflow.log_params(flat_parameters(params))


def flat_parameters(params: Mapping[str, Any]) -> dict[str, str]:
    """Return nested parameters under dotted names, passwords masked."""
    return {key: masked(str(value))[:MAX_PARAMETER_LENGTH] for key, value in _flat(params)}


def log_report(report: Mapping[str, Any], *, model_id: str | None) -> None:
    """Log the metrics of every variant and group, as `<variant>/<group>/<metric>`.

    Those of the chosen variant are also the metrics of the logged model, if there is one.
    """
    for variant, measured in report["variants"].items():
        mlflow.log_metrics(
            {
                f"{variant}/{group}/{name}": value
                for group, metrics in measured.get("groups", {}).items()
                for name, value in metrics.items()
                if isinstance(value, int | float)
            },
            model_id=model_id if variant == report["chosen"] else None,
        )


def accuracy_tags(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the chosen variant's accuracies as tags: `<group>/accuracy`, balanced ones too.

    The tag `groups` has the names of the groups, `all` first, in JSON.
    """
    measured = report["variants"][report["chosen"]]["groups"]
    names = ["all", *report["group_names"]]
    values = {
        f"{group}/{name}": f"{measured[group][name]:.6f}"
        for group in names
        for name in ACCURACIES
        if measured[group][name] is not None
    }
    return {GROUPS: json.dumps(names), **values}


def log_classes(classes: list[dict[str, Any]], *, name: str, digest: str) -> None:
    """Log a data set as an input of the active run: its class table, under its own digest."""
    table = pd.DataFrame(classes)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # counts are integers
        dataset = from_pandas(table, name=name, digest=digest[:MAX_DIGEST_LENGTH])
        mlflow.log_input(dataset, context="training")


def log_files(paths: Mapping[Path, str]) -> None:
    """Upload files and directories to the active run: path -> directory in the run."""
    for path, directory in paths.items():
        upload = mlflow.log_artifacts if path.is_dir() else mlflow.log_artifact
        upload(str(path), directory)


def fetch(tracker: Tracker, *, run_id: str, artifact: str, into: Path) -> Path:
    """Download one file of a run into a directory."""
    found = tracker.client.download_artifacts(run_id, artifact, str(into))
    return Path(found)


def _outer_run() -> str | None:
    return os.environ.get("MLFLOW_RUN_ID")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
