"""`longtail pipeline submit | schedule | status` with the real pipeline, as a person uses them."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from pipelines.status import tasks_of
from tests.pipeline.kfp_api import KfpApi, serve
from tests.pipeline.kfp_nodes import nodes
from tests.pipeline.workspace import ROOT, change_params, run

IMAGE = "registry.example/longtail@sha256:" + "0" * 64
MD5 = "5d274f28c60d899b75e5726f929b1fdc"


def reachable(directory: Path) -> Path:
    """Write the repository's parameters with a registry that pods reach."""
    params = directory / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params)
    change_params(directory, {"register.tracking_uri": "http://mlflow.longtail:5000"})
    return params


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parameter file whose images have digests."""
    directory = tmp_path_factory.mktemp("submit")
    params = yaml.safe_load(reachable(directory).read_text())
    pods = {"image": IMAGE}
    params["resources"] = {"cpu": pods, "gpu": pods, "split_remote": "s3://bucket/versions"}
    (directory / "params.yaml").write_text(yaml.safe_dump(params))
    return directory


@pytest.fixture
def api(monkeypatch):
    with serve() as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.endpoint)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        yield server
    assert server.wrong == []


def started(output: str) -> str:
    return re.search(r"(?:Run|Schedule) (\S+):", output)[1]


def finish(api: KfpApi, run_id: str, *, anew: set[str]) -> None:
    """End a run in which only `anew`, and what must not be cached, has run."""
    spec = api.specification(run_id)
    rejected = next(t for t, task in all_tasks(spec) if "rejected" in str(task["taskInfo"]))
    cached = {name for name, task in tasks_of(spec).items() if task.caches} - anew
    api.become(run_id, "SUCCEEDED", nodes(spec, cached=cached, untouched={rejected}))


def all_tasks(spec):
    for graph in (spec["root"], *spec["components"].values()):
        yield from graph.get("dag", {}).get("tasks", {}).items()


def test_one_command_compiles_and_submits(api, directory):
    output = run(directory, "longtail", "pipeline", "submit", "--data-rev", MD5)
    run_id = started(output)
    assert f"{api.endpoint}/#/runs/details/{run_id}" in output
    arguments = api.held["runs"][run_id]["runtime_config"]["parameters"]
    assert arguments["data_rev"] == f"{MD5}.dir" and arguments["code_rev"]
    images = {
        executor["container"]["image"]
        for executor in api.specification(run_id)["deploymentSpec"]["executors"].values()
    }
    assert images == {IMAGE}


def test_what_a_run_would_miss_is_refused_before_it_starts(api, tmp_path):
    reachable(tmp_path)
    with pytest.raises(AssertionError, match="--allow-tag"):
        run(tmp_path, "longtail", "pipeline", "submit")
    command = ["longtail", "pipeline", "submit", "--allow-tag"]
    with pytest.raises(AssertionError, match=r"resources\.split_remote"):
        run(tmp_path, *command, "--data-rev", MD5)
    assert api.held["runs"] == {}
    run(tmp_path, *command)


def test_code_rev_is_of_the_images_that_the_package_names(api, directory, tmp_path):
    run(directory, "longtail", "pipeline", "compile", "--out", str(tmp_path / "training.yaml"))
    shutil.copy(ROOT / "params.yaml", tmp_path)  # whose images have other names
    output = run(tmp_path, "longtail", "pipeline", "submit", "--package", "training.yaml")
    arguments = api.held["runs"][started(output)]["runtime_config"]["parameters"]
    assert re.fullmatch(f"[0-9a-f]{{16}}-{'0' * 16}", arguments["code_rev"])


@pytest.mark.parametrize("command", [("submit",), ("schedule", "--cron", "0 0 3 * * *")])
def test_a_registry_in_a_file_is_refused_as_it_would_end_with_its_pod(api, command, tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with pytest.raises(AssertionError, match=r"sqlite:///mlflow\.db.*http://mlflow"):
        run(tmp_path, "longtail", "pipeline", *command, "--allow-tag")
    assert not api.held["runs"] and not api.held["recurringruns"]


@pytest.mark.parametrize("command", [("submit",), ("schedule", "--cron", "0 0 3 * * *")])
def test_the_endpoint_is_asked_for_before_anything_is_compiled(command, tmp_path, monkeypatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with pytest.raises(AssertionError, match="No KFP endpoint"):
        run(tmp_path, "longtail", "pipeline", *command)


def test_status_of_the_newest_run_tells_what_new_images_changed(api, directory):
    first = started(run(directory, "longtail", "pipeline", "submit"))
    finish(api, first, anew=set())
    unchanged = run(directory, "longtail", "pipeline", "status")
    assert "Nothing changed: all" in unchanged
    assert re.search(r"fingerprint\s+ran", unchanged) and re.search(r"ingest\s+cached", unchanged)

    second = started(run(directory, "longtail", "pipeline", "submit"))
    finish(api, second, anew={"ingest", "split"})
    changed = run(directory, "longtail", "pipeline", "status")
    assert second in changed and "Computed anew: ingest, split." in changed
    assert first in run(directory, "longtail", "pipeline", "status", first)


def test_waiting_for_a_run_that_fails_exits_with_1(api, directory):
    run_id = started(run(directory, "longtail", "pipeline", "submit"))
    spec = api.specification(run_id)
    api.become(run_id, "FAILED", nodes(spec, states={"validate": "FAILED"}))
    with pytest.raises(AssertionError, match=f"run {run_id} has failed") as stopped:
        run(directory, "longtail", "pipeline", "status", run_id, "--wait")
    assert re.search(r"validate\s+failed", str(stopped.value))


def test_a_schedule_is_made_once(api, directory):
    command = ["longtail", "pipeline", "schedule", "--cron", "0 0 3 * * *"]
    output = run(directory, *command)
    assert f"{api.endpoint}/#/recurringrun/details/{started(output)}" in output
    with pytest.raises(AssertionError, match="--replace"):
        run(directory, *command)
    again = started(run(directory, *command, "--replace"))
    assert list(api.held["recurringruns"]) == [again]


def test_a_compiled_study_is_submitted_like_training(api, directory):
    axes = {"loss": {"ce": {}, "bs": {"represent.loss": "balanced_softmax"}}}
    (directory / "two.yaml").write_text(yaml.safe_dump({"base": "params.yaml", "axes": axes}))
    run(directory, "longtail", "pipeline", "compile", "--study", "two.yaml")
    package = "pipelines/two.yaml"
    run_id = started(run(directory, "longtail", "pipeline", "submit", "--package", package))
    assert api.specification(run_id)["pipelineInfo"]["name"] == "longtail-study-two"
