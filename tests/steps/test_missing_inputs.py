"""What the command of a step says if an earlier step was not run."""

import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.torch import load_file

from components import running
from longtail import cli
from longtail.errors import LongtailError, file_errors_explained

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
NO_INPUTS = ("fingerprint", "champion")  # the first, and one whose input may be missing
READS = {
    "ingest": "data/source.json",
    "split": "data/images",
    "validate": "data/images",
    "represent": "data/split",
    "embed": "models/representation",
    "classify": "data/features",
    "tau_norm": "data/features",
    "evaluate": "models/tau_norm",
    "gate": "reports/evaluation",
    "report": "data/split",
    "register": "data/split",
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in NO_INPUTS])
def test_a_step_without_its_inputs_names_one_and_leaves_nothing(stage, workspace, monkeypatch):
    monkeypatch.setattr("sys.argv", shlex.split(STAGES[stage]["cmd"]))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    text = str(ended.value)
    assert text.startswith(f"longtail: {READS[stage]}") and "\n" not in text
    assert "run" in text
    assert not Path(STAGES[stage]["outs"][0]).exists()


@pytest.mark.parametrize(
    "read",
    [lambda path: path.read_bytes(), pq.read_table, load_file],
    ids=["python", "pyarrow", "safetensors"],
)
def test_a_missing_file_is_named_whoever_reads_it(read, tmp_path):
    path = tmp_path / "head.safetensors"
    with pytest.raises(LongtailError) as caught, file_errors_explained():
        read(path)
    assert str(caught.value).startswith(f"{path} does not exist; ")


def test_a_pod_without_its_input_ends_with_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"classes\.json does not exist"), running.recorded("gate"):
        (tmp_path / "classes.json").read_text()
