"""From the registry back to the model, under the real Git and the real DVC."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from longtail.io import versioning
from longtail.io.checkout import Checkout
from tests.pipeline.workspace import QUICK, change_params, environment, make_workspace, run

OTHER_SPLIT = f"{'0' * 32}.dir"


@pytest.fixture(scope="module")
def workspace(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1, with a parameter and a module changed that were never committed."""
    directory = tmp_path_factory.mktemp("flow") / "copy"
    # Without the registry, in which it would be version 2.
    ignored = shutil.ignore_patterns("mlflow.db*", "mlruns")
    shutil.copytree(finished, directory, symlinks=True, ignore=ignored)
    change_params(directory, {"classify.method": "ncm"})
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
    done = reproduce(workspace, "1", tmp_path / "again")
    assert done.returncode == 0, done.stdout
    assert "fetched by DVC" in done.stdout
    assert "identical: the predictions of all 400 test images, byte for byte" in done.stdout
    assert (tmp_path / "again/src/longtail/demo.py").read_text().endswith("# not committed\n")
    assert not (tmp_path / "again" / "mlflow.db").exists()  # it registers nothing
    assert {path: path.read_bytes() for path in before} == before


@pytest.fixture
def copy(workspace, tmp_path) -> Path:
    """The workspace without the data in DVC's cache, and a version made with another split."""
    shutil.copytree(workspace, tmp_path / "copy", symlinks=True)
    shutil.rmtree(tmp_path / "copy" / ".dvc" / "cache")
    set_tag(tmp_path / "copy", "split_md5", OTHER_SPLIT)
    return tmp_path / "copy"


def set_tag(directory: Path, name: str, value: str) -> None:
    client = MlflowClient(*2 * [f"sqlite:///{directory / 'mlflow.db'}"])
    client.set_model_version_tag("longtail-digits", "1", name, value)


def test_without_the_data_in_dvc_it_is_made_from_the_source_and_a_difference_is_named(
    copy, tmp_path
):
    split_md5 = versioning.dvc_directory_md5(copy / "data" / "split")
    done = reproduce(copy, "1", tmp_path / "other")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "made again from the source" in done.stdout
    assert f"the split is {split_md5} now, but the model was made with {OTHER_SPLIT}" in done.stdout
    assert "the source has other images" in done.stdout


def test_the_split_of_a_pipeline_is_looked_for_in_its_remote(copy, tmp_path):
    remote = tmp_path / "remote"
    another = versioning.version(copy / "data" / "split", remote=str(remote))
    set_tag(copy, "split_remote", str(remote))
    done = reproduce(copy, "1", tmp_path / "other")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert f"made again from the source; split: fetched from {remote}" in done.stdout
    assert f"longtail: {remote}: dvc pull split.dvc failed" in done.stdout
    assert "that it holds this version" in done.stdout
    clone = Checkout(tmp_path / "other", copy)
    clone.fetch_split(another, remote=str(remote))
    assert versioning.dvc_directory_md5(clone.root / "data" / "split") in another


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
    shown = run(workspace, sys.executable, "-m", "longtail", "models", "show", "1", "--json")
    version = json.loads(shown)
    assert version["git_commit"] == run(workspace, "git", "rev-parse", "HEAD").strip()
    assert version["git_dirty"] == "True"
    lock = (workspace / "dvc.lock").read_text()
    assert version["split_md5"] in lock
