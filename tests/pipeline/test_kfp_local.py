"""The pipeline on this machine, as `longtail pipeline run` executes it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components import ALWAYS, STEPS
from longtail.files import file_digest, read_json
from tests.pipeline.workspace import QUICK, ROOT, change_params, environment, make_workspace, run

RUN = (sys.executable, "-m", "longtail", "pipeline", "run")
# What `dvc repro` writes, and the task and output that is the same; the rest names runs and costs.
SAME = {
    "data/images": ("ingest", "images"),
    "data/split": ("split", "split"),
    "reports/validation": ("validate", "validation"),
    "models/representation": ("represent", "representation"),
    "data/features": ("embed", "features"),
    "models/classifier": ("classify", "classifier"),
    "models/tau_norm": ("tau-norm", "heads"),
    "reports/evaluation": ("evaluate", "evaluation"),
    "data/champion": ("champion", "champion"),
    "reports/gate": ("gate", "verdict"),
    "reports/report/plots": ("report", "report/plots"),
}


@dataclass
class Place:
    """A workspace with code of its own, so that nobody's edits change it between two runs."""

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "data" / "pipeline"

    def run(self) -> tuple[str, dict[str, Any]]:
        """Return what the command says, and the summary of the run."""
        said = run(self.directory, *RUN)
        return said, self.summary()

    def summary(self) -> dict[str, Any]:
        newest = max(self.root.glob("state/runs/*/summary.json"), key=os.path.getmtime)
        return read_json(newest)

    def output(self, task: str, name: str) -> Path:
        """The output of the last run in which the task was not cached and succeeded."""
        ended = self.root.glob(f"longtail-training-*/{task}/executor_output.json")
        return max(ended).with_name(name)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the packages that every process of these tests imports."""
    directory = tmp_path_factory.mktemp("code")
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("src/longtail", "components", "pipelines"):
        shutil.copytree(ROOT / package, directory / Path(package).name, ignore=ignored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(directory))
        yield directory


@pytest.fixture(scope="module")
def place(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(make_workspace(tmp_path_factory.mktemp("kubeflow"), QUICK))


@dataclass
class First:
    """What the first run that came to its end said, its summary and its log."""

    said: str
    summary: dict[str, Any]
    log: str


@pytest.fixture(scope="module")
def first(place: Place) -> First:
    """A run that is killed in training, then once more: what is true of it is true of both."""
    kill_in_training(place)
    said, summary = place.run()
    return First(said, summary, newest_log(place).read_text())


def newest_log(place: Place) -> Path:
    return max(place.root.glob("*.log"))


def kill_in_training(place: Place) -> None:
    process = subprocess.Popen(
        RUN,
        cwd=place.directory,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    wait_for(place.root / "state" / "checkpoints", "*/training.pt", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(directory: Path, pattern: str, process: "subprocess.Popen[bytes]") -> None:
    while not list(directory.glob(pattern)):
        assert process.poll() is None, "the run ended before its first checkpoint"
        time.sleep(0.02)


@contextmanager
def changed(place: Place, changes: Mapping[str, Any]) -> Iterator[None]:
    """Change parameters for the body alone: the next test finds them as they were."""
    params = place.directory / "params.yaml"
    before = params.read_bytes()
    change_params(place.directory, changes)
    try:
        yield
    finally:
        params.write_bytes(before)


def whats(summary: dict[str, Any]) -> dict[str, str]:
    return {row["step"]: row["what"] for row in summary["steps"]}


def contents(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): file_digest(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_ends_with_a_registered_version_and_says_where_the_pages_are(first, place):
    assert first.summary["registration"]["outcome"] == "promote"
    assert first.summary["registration"]["version"] == "1"
    lines = first.said.splitlines()
    pages = [Path(line.removeprefix("Page: ")) for line in lines if "Page: " in line]
    assert [page.parent.name for page in pages] == ["docs", "report"]
    assert all("<html" in page.read_text().lower() for page in pages)
    page = re.sub(r"\\(.)", r"\1", place.output("summary", "summary").read_text())
    assert place.summary()["text"] in page


def test_a_run_killed_in_training_goes_on_where_it_was(first, place):
    """That it ends with the same weights is seen beside DVC's, which nothing disturbed."""
    cached = {"parameters", "ingest", "split", "validate"}
    what = whats(first.summary)
    assert {step for step, how in what.items() if how == "cached"} == cached
    assert {what[step] for step in what.keys() - cached} == {"ran"}
    assert "going on from epoch" in first.log
    assert not list((place.root / "state" / "checkpoints").rglob("*.pt"))


def test_artifacts_are_those_of_dvc_byte_for_byte(first, place, finished):
    for path, (task, output) in SAME.items():
        ours = contents(place.output(task, output.split("/")[0]) / output.partition("/")[2])
        assert ours == contents(finished / path), path
    lock = (finished / "dvc.lock").read_text()
    assert read_json_metadata(place, "split", "split")["split_md5"] in lock


def read_json_metadata(place: Place, task: str, output: str) -> dict[str, Any]:
    content = read_json(place.output(task, "executor_output.json"))
    return content["artifacts"][output]["artifacts"][0]["metadata"]


def test_artifacts_say_what_they_are(first, place):
    assert read_json_metadata(place, "ingest", "images")["images"] == 1797
    assert read_json_metadata(place, "split", "split")["imbalance_factor"] == 20
    shown = read_json_metadata(place, "evaluate", "metrics")
    report = read_json(place.output("evaluate", "evaluation") / "report.json")
    groups = report["variants"][report["chosen"]]["groups"]
    assert shown["balanced_accuracy"] == groups["all"]["balanced_accuracy"]
    assert shown["accuracy_few"] == groups["few"]["accuracy"]
    matrix = read_json_metadata(place, "evaluate", "groups")["confusionMatrix"]
    assert [spec["displayName"] for spec in matrix["annotationSpecs"]] == report["group_names"]
    assert sum(sum(row["row"]) for row in matrix["rows"]) == report["test"]["images"]


def test_a_second_run_finds_everything_in_the_cache_and_says_so(first, place):
    said, summary = place.run()
    assert "nothing had changed" in said
    assert {step for step, what in whats(summary).items() if what == "ran"} == ALWAYS
    assert summary["registration"]["version"] == "1"
    assert said.count("Page: ") == 2


def test_a_rejected_candidate_is_recorded_and_not_registered(first, place):
    with changed(place, {"gate.min_balanced_accuracy": 1.0}):
        said, summary = place.run()
    assert summary["registration"]["outcome"] == "reject"
    assert summary["registration"]["version"] == "none"
    assert "no version" in said
    ran = {step for step, what in whats(summary).items() if what == "ran"}
    assert ran == {"parameters", "gate", "report", *ALWAYS}
    assert not list(place.root.glob(f"{latest(place).name}/register-2")), "the other branch"


def latest(place: Place) -> Path:
    return max(place.root.glob("longtail-training-*"))


def test_a_split_that_breaks_a_rule_stops_the_run_with_the_reason(first, place):
    with (
        changed(place, {"validate.min_train_per_class": 50}),
        pytest.raises(AssertionError, match=r"exits 1(.|\n)*min_train_per_class") as stopped,
    ):
        place.run()
    assert "Traceback" not in str(stopped.value)
    assert place.summary()["state"] == "FAILED"
    what = whats(place.summary())
    assert (what["split"], what["validate"], what["represent"]) == (
        "cached",
        "failed",
        "not reached",
    )


def test_a_run_that_cannot_even_sum_up_names_its_log(code, tmp_path):
    absent = {"ingest.source": {"kind": "folder", "root": "absent"}}
    broken = Place(make_workspace(tmp_path, {**QUICK, **absent}))
    broken.root.mkdir(parents=True)
    (broken.root / "state").write_text("no directory")
    with pytest.raises(AssertionError, match=r"exits 1(.|\n)*without a summary") as stopped:
        run(broken.directory, *RUN)
    assert f"All output: {newest_log(broken)}" in str(stopped.value)
    assert "Traceback" not in str(stopped.value).partition("longtail: the run ended")[2]


def test_steps_are_in_the_order_of_the_graph(first, place):
    """Of a step without a record, later ones tell that it was cached: the order must be right."""
    started = [read_json(first_record(place, step))["started"] for step in STEPS]
    assert started == sorted(started)


def first_record(place: Place, step: str) -> Path:
    return min(place.root.glob(f"state/runs/*/{step}.json"))
