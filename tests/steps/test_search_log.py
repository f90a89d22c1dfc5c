"""What of a search stands in MLflow."""

from pathlib import Path
from typing import Any

import mlflow
import pytest

from longtail.artifacts import Search
from longtail.io.connection import connect
from longtail.io.search_log import log_search


def row(number: int, state: str, **changes: Any) -> dict[str, Any]:
    empty = {"score": None, "by_epoch": [], "error": None}
    return {"number": number, "weight_decay": 10.0**-number, "state": state, **empty, **changes}


RESULT = {
    "weight_decay": 0.1,
    "score": 0.5,
    "tau": 0.7,
    "score_with_tau": 0.6,
    "select_by": "balanced_accuracy",
    "trials": [
        row(1, "COMPLETE", score=0.5, by_epoch=[0.1, 0.5]),
        row(2, "PRUNED", by_epoch=[0.1]),
        row(3, "FAIL", error="out of memory"),
    ],
    "tau_trials": [],
}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "scores.png").write_bytes(b"a picture")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def runs(uri: str) -> list[Any]:
    with connect(uri) as tracker:
        experiments = [e.experiment_id for e in tracker.client.search_experiments()]
        return list(tracker.client.search_runs(experiments))


def by_name(uri: str) -> dict[str, Any]:
    return {run.info.run_name: run for run in runs(uri)}


def test_every_trial_is_a_run_of_its_own_below_that_of_the_search(uri, tmp_path):
    log_search(uri, "tests", RESULT, Search(tmp_path / "search"))
    (parent,) = [run for run in runs(uri) if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.params == {
        "weight_decay": "0.1",
        "tau": "0.7",
        "select_by": "balanced_accuracy",
    }
    assert parent.data.metrics == {"score": 0.5, "score_with_tau": 0.6}
    trials = by_name(uri)
    states = {name: trials[f"trial {name}"].info.status for name in (1, 2, 3)}
    assert states == {1: "FINISHED", 2: "KILLED", 3: "FAILED"}
    assert trials["trial 3"].data.tags["error"] == "out of memory"
    assert trials["trial 2"].data.tags["mlflow.parentRunId"] == parent.info.run_id
    with connect(uri) as tracker:
        history = tracker.client.get_metric_history(trials["trial 1"].info.run_id, "held_out")
        pictures = tracker.client.list_artifacts(parent.info.run_id, "search")
    assert [(point.step, point.value) for point in history] == [(0, 0.1), (1, 0.5)]
    assert [file.path for file in pictures] == ["search/scores.png"]


def test_the_same_search_is_logged_once(uri, tmp_path):
    for result in (RESULT, RESULT, {**RESULT, "score": 0.4}):
        log_search(uri, "tests", result, Search(tmp_path / "search"))
    assert len(runs(uri)) == 2 * (1 + len(RESULT["trials"]))


def test_the_run_of_whoever_started_the_process_is_used(uri, tmp_path, monkeypatch):
    with connect(uri) as tracker:
        outer = tracker.client.create_run(tracker.client.create_experiment("outer")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", outer)
    log_search(uri, "tests", RESULT, Search(tmp_path / "search"))
    found = {run.info.run_id: run for run in runs(uri)}
    assert found[outer].data.metrics["score"] == 0.5
    assert found[outer].info.status == "RUNNING" and mlflow.active_run() is None
    children = [run for run in found.values() if run.info.run_id != outer]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {outer}
    assert {run.info.experiment_id for run in children} == {found[outer].info.experiment_id}


def test_more_epochs_than_mlflow_takes_at_once_are_all_logged(uri, tmp_path):
    epochs = [i / 2000 for i in range(2000)]
    result = {**RESULT, "trials": [row(1, "COMPLETE", score=0.5, by_epoch=epochs)]}
    log_search(uri, "tests", result, Search(tmp_path / "search"))
    with connect(uri) as tracker:
        run_id = by_name(uri)["trial 1"].info.run_id
        history = tracker.client.get_metric_history(run_id, "held_out")
    assert [point.value for point in history] == epochs
