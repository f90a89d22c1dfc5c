"""A study on handwritten digits: killed, gone on with, one cell failing; report and advice."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

BASE = {
    "split": {
        "max_per_class": 30,
        "imbalance_factor": 5.0,
        "val": {"take_from": "train", "per_class": 6, "share": None},
        "test": {"distribution": "balanced", "per_class": 8, "share": None},
    },
    "validate": {"min_train_per_class": 1, "min_test_per_class": 1, "image_checks": 5},
    "represent": {
        "epochs": 3,
        "warmup_epochs": 1,
        "batch_size": 32,
        "image_size": 16,
    },
    "classify": {"epochs": 1},
}
STUDY = {
    "base": "base.yaml",
    "axes": {
        "loss": {
            "cross-entropy": {},
            "balanced softmax": {"represent.loss": "balanced_softmax"},
        },
        "novel": {"none": {}, "wrong": {"tau_norm.reject_to": "unicorn"}},
    },
    "variants": ["stage1", "stage2"],
    "published": {"cross-entropy / none": "bwlm_ce_if100"},
}


def longtail(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "longtail", *arguments], cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """A study that was killed in its first training and then run to its end."""
    directory = tmp_path_factory.mktemp("study")
    (directory / "base.yaml").write_text(yaml.safe_dump(BASE))
    (directory / "losses.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    (directory / "params.yaml").write_text("{}")
    command = [sys.executable, "-m", "longtail", "study", "run", "losses.yaml", "--workers", "2"]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    wait_for(lambda: any(directory.glob("data/study/represent/.*.checkpoint/*")), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) != 0
    before = longtail("study", "status", "losses.yaml", cwd=directory).stdout
    ended = longtail("study", "run", "losses.yaml", "--workers", "2", cwd=directory)
    return directory, before, ended


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, "the study ended before it could be killed"
        time.sleep(0.1)


def steps_at(directory, step):
    return sorted(p for p in (directory / "data/study" / step).iterdir() if "." not in p.name)


def test_a_killed_study_has_no_failed_cells_and_leaves_no_process(at):
    directory, before, _ = at
    assert len(before.splitlines()) == 4
    assert {line.split()[0] for line in before.splitlines()} == {"waiting"}
    workers = subprocess.run(["pgrep", "-f", str(directory)], capture_output=True, text=True)
    assert [pid for pid in workers.stdout.split() if int(pid) != os.getpid()] == []


def test_a_failed_cell_is_told_and_stops_no_other(at):
    directory, _, ended = at
    assert ended.returncode == 1
    assert "2 of 4 cells are done" in ended.stdout
    assert "2 cells failed" in ended.stderr and "'unicorn'" in ended.stderr
    status = longtail("study", "status", "losses.yaml", cwd=directory).stdout.splitlines()
    assert [line.split()[0] for line in status] == ["done", "failed", "done", "failed"]
    assert "reject_to is 'unicorn'" in status[1]


def test_what_cells_share_is_run_once(at):
    directory, _, _ = at
    counts = {s: len(steps_at(directory, s)) for s in ("ingest", "split", "validate", "represent")}
    assert counts == {"ingest": 1, "split": 1, "validate": 1, "represent": 2}


def test_the_log_of_a_cell_has_a_line_an_epoch(at):
    directory, _, _ = at
    logs = [path.read_text() for path in (directory / "data/study/cells").glob("*.log")]
    assert any("\nepoch 3 of 3: loss " in log for log in logs)


def test_running_again_tries_the_failed_cells_alone(at):
    directory, _, _ = at
    before = [path.stat().st_mtime_ns for path in steps_at(directory, "represent")]
    again = longtail("study", "run", "losses.yaml", cwd=directory)
    assert again.returncode == 1
    assert "1 of 2: " in again.stdout
    assert [path.stat().st_mtime_ns for path in steps_at(directory, "represent")] == before


def test_the_report_has_a_row_a_method_and_what_is_missing(at):
    directory, _, _ = at
    reported = longtail("study", "report", "losses.yaml", cwd=directory)
    assert reported.returncode == 0, reported.stderr
    assert "2 of 4 cells are not in it" in reported.stdout
    summary = json.loads((directory / "reports/study/losses/study.json").read_text())
    rows = {row["label"]: row for row in summary["rows"]}
    assert list(rows) == [
        "cross-entropy / none",
        "cross-entropy / none / stage2",
        "balanced softmax / none",
        "balanced softmax / none / stage2",
    ]
    first, other = rows["cross-entropy / none"], rows["balanced softmax / none"]
    assert first["difference"] is None
    assert other["difference"]["reference"] == "cross-entropy / none"
    gain = other["accuracy"]["all"]["mean"] - first["accuracy"]["all"]["mean"]
    assert other["difference"]["value"] == pytest.approx(gain)
    assert first["published"]["accuracy"] and first["minutes"] > 0
    page = (directory / "reports/study/losses/index.html").read_text()
    assert "One seed:" in page and page.count("<svg") == 2 and "http" not in page.split("<svg")[0]


def test_only_the_cells_that_are_named_are_run_and_reported(at):
    directory, _, _ = at
    only = ["losses.yaml", "--only", "* / none, seed 0"]
    ended = longtail("study", "run", *only, cwd=directory)
    assert (ended.returncode, ended.stdout) == (0, "2 of 2 cells are done in data/study\n")
    status = longtail("study", "status", *only, cwd=directory).stdout.splitlines()
    assert [line.split()[0] for line in status] == ["done", "done"]
    advised = longtail("study", "advise", *only, cwd=directory)
    assert advised.returncode == 0 and "Not done yet" not in advised.stdout
    reported = longtail("study", "report", *only, "--out", "none", cwd=directory)
    assert reported.returncode == 0 and "are not in it" not in reported.stdout


def test_a_report_is_a_run_with_a_child_a_cell(at):
    from mlflow import MlflowClient

    directory, _, _ = at
    for _ in range(2):  # a second report of the same is no second run
        assert longtail("study", "report", "losses.yaml", cwd=directory).returncode == 0
    client = MlflowClient(f"sqlite:///{directory}/mlflow.db")
    experiment = client.get_experiment_by_name("longtail")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run not in parents]
    assert len(parents) == 1 and parents[0].data.tags["study"] == "losses"
    assert sorted(run.info.status for run in children) == ["FAILED"] * 2 + ["FINISHED"] * 2
    failed = next(run for run in children if run.info.status == "FAILED")
    assert "unicorn" in failed.data.tags["error"]


def test_advice_names_a_method_its_price_and_what_val_can_tell(at):
    directory, _, _ = at
    advised = longtail("study", "advise", "losses.yaml", cwd=directory)
    assert advised.returncode == 0, advised.stderr
    missing, *lines = advised.stdout.splitlines()
    assert missing.startswith("Not done yet") and "cross-entropy / wrong" in missing
    assert lines[0].startswith("1") and "imbalance factor" in lines[0]
    assert "Val has 60 images of 10 classes" in lines[1]
    assert lines[2].startswith("Use ")


def test_a_report_before_anything_ran_says_what_to_do(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    (tmp_path / "losses.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    (tmp_path / "params.yaml").write_text("{}")
    reported = longtail("study", "report", "losses.yaml", cwd=tmp_path)
    assert reported.returncode == 1
    assert "no cell of the study is done; start it with `longtail study run`" in reported.stderr
