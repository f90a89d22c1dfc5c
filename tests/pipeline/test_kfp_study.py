"""A study as one pipeline: what it shares, and the same comparison as `longtail study` gives."""

import json
import sys
from pathlib import Path

import pytest
import yaml

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
    file.write_text(yaml.safe_dump({**study, **content}))
    return file


def compiled(file: Path) -> str:
    """Compile without retries, whose pauses are long."""
    params = file.with_name("resources.yaml")
    params.write_text(yaml.safe_dump({"resources": {"cpu": {"retries": 0}, "gpu": {"retries": 0}}}))
    return compiled_study(file, params, parallelism=2)


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


def test_cells_that_need_another_split_are_refused(tmp_path):
    axes = {"factor": {"20": {}, "10": {"split.imbalance_factor": 10}}}
    with pytest.raises(LongtailError, match=r"differ in section split.*longtail study run"):
        compiled(write_study(tmp_path, axes=axes))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study by both ways; `kfp` and `study` are their results."""
    directory = tmp_path_factory.mktemp("study")
    file = write_study(directory)
    package = directory / "tiny.kfp.yaml"
    package.write_text(compiled(file))
    (directory / "params.yaml").write_text("{}\n")
    root = str(directory / "kfp")
    run(directory, sys.executable, "-c", RUN_LOCALLY, str(package), root, str(ROOT))
    run(directory, "longtail", "study", "run", str(file), "--workers", "2")
    run(directory, "longtail", "study", "report", str(file), "--out", "study")
    return directory


def test_it_ends_with_the_comparison_that_longtail_study_makes(ran):
    [comparison] = (ran / "kfp").rglob("comparison")
    ours, theirs = read_json(comparison / "study.json"), read_json(ran / "study/study.json")
    assert [row.pop("minutes") for row in ours["rows"]] == [None] * len(ours["rows"])
    for row in theirs["rows"]:
        del row["minutes"]
    assert json.dumps(ours) == json.dumps(theirs)
    assert {row["values"]["loss"] for row in ours["rows"]} == set(LOSSES)


def test_its_page_and_table_are_artifacts_to_open(ran):
    [page] = (ran / "kfp").rglob("compare/page")
    assert "<svg" in page.read_text()
    [table] = (ran / "kfp").rglob("compare/table")
    assert "| balanced |" in table.read_text()


def test_split_and_images_were_made_once(ran):
    made = {path.parent.name for path in (ran / "kfp").rglob("manifest.parquet")}
    assert len(list((ran / "kfp").rglob("profile.json"))) == 1
    assert made == {"images"} or len(made) == 1
    assert len(list((ran / "kfp").rglob("backbone.safetensors"))) == len(LOSSES)
