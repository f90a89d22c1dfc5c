"""`make clean`, in what a clone holds and in what work leaves there."""

import shutil
import subprocess
from pathlib import Path

import pytest

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


def test_the_source_of_the_images_stays(clone):
    for name in ("source", "images"):
        (clone / "data" / name).mkdir(parents=True)
    (clone / "data" / "source.json").write_text("{}")
    clean(clone)
    assert [path.name for path in (clone / "data").iterdir()] == ["source"]
