"""The whole line under the real DVC, on digits with few epochs."""

import json
import re
import shutil
from pathlib import Path

import pytest

from longtail.files import read_json
from tests.pipeline.workspace import QUICK, change_params, make_workspace, run

UPSTREAM = {"ingest", "split", "validate", "represent", "embed"}


@pytest.fixture(scope="module")
def workspace(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("flow") / "copy"
    return shutil.copytree(finished, directory, symlinks=True)


def stages_run(output: str) -> set[str]:
    return set(re.findall(r"Running stage '(\w+)'", output))


def versions(workspace: Path) -> list[str]:
    listed = run(workspace, "longtail", "models", "list", "--json")
    return [version["version"] for version in json.loads(listed)]


def test_ends_with_a_promoted_version(workspace):
    assert read_json(workspace / "reports/gate/verdict.json")["outcome"] == "promote"
    record = read_json(workspace / "reports/register/registration.json")
    assert record["version"] is not None and "champion" in record["aliases"]
    assert (workspace / "reports/report/index.html").is_file()


def test_a_registry_that_lost_the_model_gets_it_back_once(workspace):
    (workspace / "mlflow.db").unlink()
    shutil.rmtree(workspace / "mlruns")
    run(workspace, "dvc", "repro")
    assert versions(workspace) == ["1"]


def test_a_second_run_runs_only_what_depends_on_the_world_outside(workspace):
    before = (workspace / "dvc.lock").read_bytes()
    output = run(workspace, "dvc", "repro")
    assert stages_run(output) == {"fingerprint", "champion", "register"}
    assert (workspace / "dvc.lock").read_bytes() == before
    assert versions(workspace) == ["1"]


def test_stage_2_parameters_re_run_nothing_upstream(workspace):
    change_params(workspace, {"classify.method": "ncm", "tau_norm.steps": 11})
    again = stages_run(run(workspace, "dvc", "repro", "evaluate"))
    assert {"classify", "tau_norm", "evaluate"} <= again
    assert not again & UPSTREAM
    change_params(workspace, {"classify.method": "crt", "tau_norm.steps": 21})
    assert not stages_run(run(workspace, "dvc", "repro", "evaluate")) & UPSTREAM


def test_dvc_commands_of_every_day(workspace):
    assert "stage2" in run(workspace, "dvc", "metrics", "show")
    assert "represent" in run(workspace, "dvc", "dag")
    run(workspace, "dvc", "plots", "show", "--out", "drawn")
    assert "vega" in (workspace / "drawn" / "index.html").read_text()
    assert "Stage 'split' didn't change" in run(workspace, "dvc", "repro", "-s", "split")


def test_an_experiment_changes_a_parameter(workspace):
    run(workspace, "git", "add", ".")
    run(workspace, "git", "commit", "--quiet", "--message", "first run")
    output = run(workspace, "dvc", "exp", "run", "-S", "classify.method=ncm", "classify")
    assert not stages_run(output) & UPSTREAM
    assert read_json(workspace / "models/classifier/classifier.json")["method"] == "ncm"


def test_a_split_that_breaks_a_rule_stops_the_flow(tmp_path):
    directory = make_workspace(tmp_path, {**QUICK, "validate.min_train_per_class": 50})
    with pytest.raises(AssertionError, match="min_train_per_class") as stopped:
        run(directory, "dvc", "repro", "represent")
    assert "validate" in str(stopped.value)
    assert not (directory / "models" / "representation").exists()
