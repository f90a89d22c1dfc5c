"""From the registry back to the model, under the real Git and the real DVC."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from longtail.io import versioning
from tests.pipeline.workspace import QUICK, change_params, environment, make_workspace, run

ANYTHING_PASSES = {"gate.min_gain": -1.0, "gate.max_group_loss": {}, "gate.max_class_loss": 1.0}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 of a clean commit, and version 2 with a parameter and a module changed since."""
    directory = make_workspace(tmp_path_factory.mktemp("flow"), QUICK)
    run(directory, "dvc", "repro")
    run(directory, "git", "add", ".")
    run(directory, "git", "commit", "--quiet", "--message", "first version")
    change_params(directory, {"classify.method": "ncm", **ANYTHING_PASSES})
    with (directory / "src" / "longtail" / "demo.py").open("a") as module:
        module.write("# not committed\n")
    run(directory, "dvc", "repro")
    change_params(directory, {"classify.method": "crt"})  # another experiment since
    return directory


def reproduce(directory: Path, version: str, into: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "longtail", "reproduce", version, "--into", str(into)],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_model_with_changes_that_were_never_committed_is_made_again(workspace, tmp_path):
    before = {path: path.read_bytes() for path in workspace.glob("*.*") if path.is_file()}
    done = reproduce(workspace, "2", tmp_path / "again")
    assert done.returncode == 0, done.stdout
    assert "fetched by DVC" in done.stdout
    assert "identical: the predictions of all 400 test images, byte for byte" in done.stdout
    assert (tmp_path / "again/src/longtail/demo.py").read_text().endswith("# not committed\n")
    assert not (tmp_path / "again" / "mlflow.db").exists()  # it registers nothing
    assert {path: path.read_bytes() for path in before} == before


@pytest.fixture
def copy(workspace, tmp_path) -> Path:
    """The workspace without the data in DVC's cache."""
    shutil.copytree(workspace, tmp_path / "copy", symlinks=True)
    shutil.rmtree(tmp_path / "copy" / ".dvc" / "cache")
    return tmp_path / "copy"


def test_without_the_data_in_dvc_it_is_made_from_the_source_and_a_difference_is_named(
    copy, tmp_path
):
    client = MlflowClient(*2 * [f"sqlite:///{copy / 'mlflow.db'}"])
    split_md5 = client.get_model_version("longtail-digits", "1").tags["split_md5"]
    wrong = f"{'0' * 32}.dir"
    client.set_model_version_tag("longtail-digits", "1", "split_md5", wrong)
    done = reproduce(copy, "1", tmp_path / "other")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "made again from the source" in done.stdout
    assert f"the split is {split_md5} now, but the model was made with {wrong}" in done.stdout
    assert "the source has other images" in done.stdout


def test_the_split_of_a_pipeline_comes_from_its_remote(copy, tmp_path):
    remote = tmp_path / "remote"
    versioning.version(copy / "data" / "split", remote=str(remote))
    database = f"sqlite:///{copy / 'mlflow.db'}"
    MlflowClient(database, database).set_model_version_tag(
        "longtail-digits", "1", "split_remote", str(remote)
    )
    done = reproduce(copy, "1", tmp_path / "again")
    assert done.returncode == 0, done.stdout
    assert f"split: fetched from {remote}" in done.stdout and "identical" in done.stdout


def test_a_commit_that_is_not_here_says_what_to_do(workspace, tmp_path):
    elsewhere = make_workspace(tmp_path / "elsewhere", QUICK)
    for name in ("mlflow.db", "mlruns"):
        run(elsewhere, "cp", "-r", str(workspace / name), name)
    done = reproduce(elsewhere, "1", tmp_path / "again")
    assert done.returncode == 1 and "git fetch" in done.stdout
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = reproduce(workspace, "1", tmp_path / "full")
    assert done.returncode == 1 and "is not empty" in done.stdout


def test_the_registry_knows_commit_split_and_lock(workspace):
    shown = run(workspace, sys.executable, "-m", "longtail", "models", "show", "2", "--json")
    version = json.loads(shown)
    assert version["git_commit"] == run(workspace, "git", "rev-parse", "HEAD").strip()
    assert version["git_dirty"] == "True"
    lock = (workspace / "dvc.lock").read_text()
    assert version["split_md5"] in lock
