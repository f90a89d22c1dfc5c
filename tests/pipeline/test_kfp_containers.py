"""What steps in containers find of this machine: files, databases and variables."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.containers import container_runner, mounted
from pipelines.parameters import read_parameters
from tests.pipeline.workspace import ROOT


def sections(**register: str) -> dict[str, dict[str, Any]]:
    found = read_parameters(ROOT / "params.yaml")
    return {**found, "register": {**found["register"], **register}}


def test_a_database_in_the_working_directory_becomes_one_under_the_root(tmp_path):
    changed, read, write = mounted(sections(tracking_uri="sqlite:///mlflow.db"), tmp_path)
    assert changed["register"]["tracking_uri"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert read == write == []


def test_a_database_elsewhere_stays_and_its_directory_can_be_written(tmp_path):
    uri = f"sqlite:///{tmp_path}/shared/mlflow.db"
    changed, _, write = mounted(sections(tracking_uri=uri), tmp_path / "root")
    assert changed["register"]["tracking_uri"] == uri
    assert write == [tmp_path / "shared"] and write[0].is_dir()
    _, _, write = mounted(sections(tracking_uri=uri), tmp_path)
    assert write == [], "the root is mounted anyway, and nothing twice"


def test_a_file_of_weights_is_mounted_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = sections()
    given["represent"] = {**given["represent"], "pretrained": "in1k.safetensors"}
    changed, read, _ = mounted(given, tmp_path / "root")
    assert read == [tmp_path / "in1k.safetensors"]
    assert changed["represent"]["pretrained"] == str(read[0])
    given["represent"]["pretrained"] = "hub"
    assert mounted(given, tmp_path / "root")[1] == []


def test_variables_of_s3_and_mlflow_reach_the_containers_with_the_files_that_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    monkeypatch.setenv("UNRELATED", "1")
    runner = container_runner({"LONGTAIL_RUN": "r"}, read=[tmp_path / "in"], write=[tmp_path])
    given = runner.container_run_args
    variables = given["environment"]
    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9000"
    assert variables["MLFLOW_TRACKING_TOKEN"] == "t" and variables["LONGTAIL_RUN"] == "r"
    assert "UNRELATED" not in variables
    read_only = {mount["Target"]: mount["ReadOnly"] for mount in given["mounts"]}
    assert read_only == {str(bundle): True, str(tmp_path / "in"): True, str(tmp_path): False}
