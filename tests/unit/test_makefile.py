"""`make clean`, in what a clone holds and in what work leaves there."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("src", "tests", "bench"):
        (tmp_path / name).mkdir()
    return tmp_path


def clean(directory: Path) -> None:
    done = subprocess.run(["make", "clean"], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_fresh_clone_has_no_data_and_is_cleaned_all_the_same(clone):
    (clone / "models" / "representation").mkdir(parents=True)
    (clone / "src" / "__pycache__").mkdir()
    clean(clone)
    assert not (clone / "models").exists() and not (clone / "src" / "__pycache__").exists()


def test_outputs_go_while_images_and_finished_studies_stay(clone):
    kept = ["photos", "source", "study", "torchvision"]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    outs = [out for stage in stages.values() for out in stage["outs"]]
    for name in (*outs, "data/pipeline", "data/.split.x.partial", "data/.images.download"):
        (clone / name).mkdir(parents=True)
    for name in kept:
        (clone / "data" / name).mkdir()
    clean(clone)
    assert sorted(path.name for path in (clone / "data").iterdir()) == kept
    assert not (clone / "models").exists() and not (clone / "reports").exists()
