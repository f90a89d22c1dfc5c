"""The command line as a person meets it."""

import os
import subprocess
import sys
from pathlib import Path

from longtail.config.params import FLOW

HEAVY = ("torch", "pandas", "mlflow", "great_expectations", "timm", "boto3", "sklearn", "pydantic")


def longtail(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "longtail", *arguments],
        cwd=cwd,
        text=True,
        capture_output=True,
        env={**os.environ, "COLUMNS": "120"},
        check=False,
    )


def test_help_names_every_step(tmp_path):
    done = longtail("--help", cwd=tmp_path)
    assert done.returncode == 0
    for step in (*FLOW, "search", "fingerprint", "champion", "demo", "doctor"):
        assert step in done.stdout


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; sys.argv = ['longtail', '--help']\n"
        "from longtail.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")


def test_a_mistyped_parameter_is_one_plain_error(tmp_path):
    (tmp_path / "params.yaml").write_text("split: {imbalance_facto: 10}\n")
    done = longtail("split", "--images", "images", "--out", "split", cwd=tmp_path)
    assert done.returncode == 1
    assert "did you mean `imbalance_factor`?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_parameter_file_says_what_to_do(tmp_path):
    done = longtail("fingerprint", "--out", "source.json", cwd=tmp_path)
    assert done.returncode == 1
    assert "--params" in done.stderr and "Traceback" not in done.stderr


def test_steps_note_their_cost_and_draw_no_bar_into_a_log(tmp_path):
    (tmp_path / "params.yaml").write_text("ingest: {}\n")
    done = longtail("fingerprint", "--out", "data/source.json", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "reports/cost/fingerprint.json").is_file()


def test_the_demo_outside_of_a_clone_says_so(tmp_path):
    done = longtail("demo", cwd=tmp_path)
    assert done.returncode == 1 and "dvc.yaml" in done.stderr


def test_doctor_has_a_line_for_what_the_flow_stands_on(tmp_path):
    (tmp_path / "params.yaml").write_text("{}\n")
    said = longtail("doctor", cwd=tmp_path).stdout.lower()
    assert all(line in said for line in ("python", "torch", "disk", "mlflow")), said
