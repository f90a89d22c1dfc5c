"""A study as one pipeline: what its cells share, and that it ends with one comparison."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from components.outcomes import compare
from longtail.cli import app
from longtail.errors import LongtailError
from longtail.files import read_json
from pipelines.status import tasks_of
from pipelines.study import compiled_study
from tests.pipeline.workspace import ROOT, run

QUICK = {"represent.epochs": 1, "represent.warmup_epochs": 0, "classify.epochs": 2}
LOSSES = {"cross-entropy": {}, "balanced": {"represent.loss": "balanced_softmax"}}
RUN_LOCALLY = """
import os, sys
os.environ["PYTHONPATH"] = sys.argv[3]  # of the steps' processes
from kfp import local
from kfp.components import load_component_from_text
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2], enable_caching=False)
load_component_from_text(open(sys.argv[1]).read())(code_rev="1")
"""


def write_study(directory: Path, **content) -> Path:
    file = directory / "tiny.yaml"
    study = {"base": str(ROOT / "params.yaml"), "set": QUICK, "axes": {"loss": LOSSES}}
    file.write_text(yaml.safe_dump({**study, **content}, sort_keys=False))
    return file


def compiled(file: Path, **arguments) -> str:
    """Compile without retries, whose pauses are long."""
    params = file.with_name("resources.yaml")
    params.write_text(yaml.safe_dump({"resources": {"cpu": {"retries": 0}, "gpu": {"retries": 0}}}))
    return compiled_study(file, params, parallelism=2, **arguments)


def test_the_grid_is_the_loop_and_what_cells_have_in_common_lies_before_it(tmp_path):
    axes = {"loss": LOSSES, "backbone": {"32": {}, "56": {"represent.backbone": "cifar_resnet56"}}}
    text = compiled(write_study(tmp_path, axes=axes, seeds=[0, 1]))
    spec = next(yaml.safe_load_all(text))
    root = spec["root"]["dag"]["tasks"]
    assert set(root) == {
        "fingerprint",
        "ingest",
        "split",
        "validate",
        "for-loop-1",
        "compare",
    }
    assert root["for-loop-1"]["iteratorPolicy"]["parallelismLimit"] == 2
    cells = spec["root"]["inputDefinitions"]["parameters"]["grid"]["defaultValue"]
    assert [cell["cell"]["index"] for cell in cells] == list(range(8))
    chosen = {
        (c["represent"]["loss"]["name"], c["represent"]["backbone"], c["represent"]["seed"])
        for c in cells
    }
    assert len(chosen) == 8
    always = {name for name, task in tasks_of(spec).items() if not task.caches}
    assert always == {"fingerprint"}


def test_cells_of_several_splits_are_refused_and_those_of_one_can_be_named(tmp_path):
    axes = {"factor": {"20": {}, "10": {"split.imbalance_factor": 10}}, "loss": LOSSES}
    file = write_study(tmp_path, axes=axes)
    with pytest.raises(LongtailError, match=r"differ in section split.*--only.*longtail study run"):
        compiled(file)
    spec = next(yaml.safe_load_all(compiled(file, only=["10 / *"])))
    given = spec["root"]["inputDefinitions"]["parameters"]
    assert given["split"]["defaultValue"]["imbalance_factor"] == 10
    names = [cell["cell"]["name"] for cell in given["grid"]["defaultValue"]]
    assert names == ["10 / cross-entropy", "10 / balanced"]


def test_names_of_cells_without_their_study_are_refused(tmp_path):
    out = tmp_path / "training.yaml"
    done = CliRunner().invoke(app, ["pipeline", "compile", "--only", "10 / *", "--out", str(out)])
    assert "name its file with --study" in str(done.exception) and not out.exists()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pipeline of two cells has left its artifacts."""
    directory = tmp_path_factory.mktemp("study")
    package = directory / "tiny.kfp.yaml"
    package.write_text(compiled(write_study(directory, variants=["stage1", "stage2"])))
    root = str(directory / "kfp")
    run(directory, sys.executable, "-c", RUN_LOCALLY, str(package), root, str(ROOT))
    return directory / "kfp"


def balanced_accuracy(evaluation: Path, variant: str) -> float:
    table = pd.read_parquet(evaluation / "predictions.parquet")
    right = table[f"{variant}_prediction"] == table["label"]
    return float(right.groupby(table["label"]).mean().mean())


def test_it_ends_with_one_comparison_of_all_cells(ran):
    [comparison] = ran.rglob("comparison")
    summary = read_json(comparison / "study.json")
    evaluations = sorted(ran.rglob("for-loop-*/evaluate/evaluation"))
    assert len(evaluations) == len(LOSSES)
    expected = sorted(
        balanced_accuracy(evaluation, variant)
        for evaluation in evaluations
        for variant in ("stage1", "stage2")
    )
    found = sorted(row["accuracy"]["all"]["mean"] for row in summary["rows"])
    assert found == pytest.approx(expected)
    assert [row["label"] for row in summary["rows"]] == [
        "cross-entropy",
        "cross-entropy / stage2",
        "balanced",
        "balanced / stage2",
    ]
    assert summary["rows"][0]["difference"] is None  # the first value is what others are held to
    assert summary["rows"][2]["difference"]["reference"] == "cross-entropy"


def test_cells_are_told_apart_whatever_the_order_in_which_kfp_collects_them(ran, tmp_path):
    study = next(ran.rglob("comparison")) / "study.json"
    text = next(yaml.safe_load_all((ran.parent / "tiny.kfp.yaml").read_text()))
    task = text["root"]["dag"]["tasks"]["compare"]["inputs"]["parameters"]["study"]
    outcomes = sorted(ran.rglob("for-loop-*/outcome/outcome"), reverse=True)
    compare(task["runtimeValue"]["constant"], outcomes, out=tmp_path / "again")
    assert (tmp_path / "again/study.json").read_bytes() == study.read_bytes()


def test_its_page_and_table_are_artifacts_to_open(ran):
    [page] = ran.rglob("compare/page")
    assert "<svg" in page.read_text()
    [table] = ran.rglob("compare/table")
    assert "| balanced |" in table.read_text()
    assert "| - |" in table.read_text().splitlines()[2]  # minutes are unknown, not 0


def test_split_and_images_were_made_once(ran):
    assert len(list(ran.rglob("manifest.parquet"))) == 1
    assert len(list(ran.rglob("profile.json"))) == 1
    assert len(list(ran.rglob("backbone.safetensors"))) == len(LOSSES)
