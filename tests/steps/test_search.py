"""The search on a few digits: what it reads, what it repeats, and how it goes on after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from longtail.artifacts import Search, Split
from longtail.commands.search import set_weight_decay
from longtail.config.search import SearchConfig
from longtail.config.section import parse
from longtail.config.split import SplitConfig
from longtail.config.training import RepresentConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json, write_json
from longtail.holding_out import held_out
from longtail.steps.search import search
from longtail.steps.split import split
from tests.steps.ingest_fixtures import run_ingest
from tests.steps.tiny_source import write_tiny_source
from tests.steps.validate_fixtures import digits, write_artifacts

SMALL = {"image_size": 8, "epochs": 3, "batch_size": 8, "warmup_epochs": 0, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("search")
    images, split = write_artifacts(root, digits())
    tables = Split(split)
    write_json(root / "passed.json", {"split": file_digest(tables.profile)})
    return {
        "images": images,
        "train": tables.train,
        "profile": tables.profile,
        "validation": root / "passed.json",
    }


def run(inputs: dict[str, Path], out: Path, *, stage1: dict[str, Any] | None = None, **changes):
    config = SearchConfig(**{"trials": 3, "startup_trials": 2, **changes})
    search(config, RepresentConfig(**SMALL | (stage1 or {})), **inputs, out=out)
    return read_json(Search(out).result)


def test_held_out_images_keep_every_class_on_both_sides():
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor([50, 10, 2, 1]))
    chosen = held_out(labels, share=0.2, generator=torch.Generator().manual_seed(0))
    assert torch.bincount(labels[chosen], minlength=4).tolist() == [10, 2, 1, 0]
    assert torch.bincount(labels[~chosen], minlength=4).tolist() == [40, 8, 1, 1]


def test_the_best_finished_trial_wins_and_a_second_search_says_the_same(inputs, tmp_path):
    result = run(inputs, tmp_path / "a", prune=False)
    scores = {row["weight_decay"]: row["score"] for row in result["trials"]}
    assert len(scores) == 3 and all(1e-5 <= decay <= 1e-1 for decay in scores)
    assert result["score"] == scores[result["weight_decay"]] == max(scores.values())
    assert 0 <= result["tau"] <= 2
    again = run(inputs, tmp_path / "b", prune=False)
    assert again == result
    for name in ("search.json", "scores.png", "learning.png"):
        assert file_digest(tmp_path / "a" / name) == file_digest(tmp_path / "b" / name)


def test_the_parts_are_of_the_training_images_alone(inputs, tmp_path):
    run(inputs, tmp_path / "out", trials=1)
    (parts,) = tmp_path.glob(".out.study/*/split")
    train, judges = (pq.read_table(parts / f"{part}.parquet")["index"] for part in ("train", "val"))
    whole = pq.read_table(inputs["train"])["index"].to_pylist()
    assert sorted(train.to_pylist() + judges.to_pylist()) == sorted(whole)


def test_more_trials_add_to_the_earlier_ones(inputs, tmp_path):
    first = run(inputs, tmp_path / "out", trials=2, prune=False)
    more = run(inputs, tmp_path / "out", trials=4, prune=False)
    assert more["trials"][:2] == first["trials"] and len(more["trials"]) == 4


def test_a_hopeless_trial_is_pruned_and_recorded(tmp_path):
    images = run_ingest(tmp_path, write_tiny_source(tmp_path / "in", sizes={"train": 60})).root
    share = {"share": 0.1}
    requested = {"law": "natural", "val": share, "test": {"distribution": "as_is", **share}}
    split(parse(SplitConfig, requested, where="split"), images=images, out=tmp_path / "split")
    tables = Split(tmp_path / "split")
    write_json(tmp_path / "passed.json", {"split": file_digest(tables.profile)})
    inputs = {
        "images": images,
        "train": tables.train,
        "profile": tables.profile,
        "validation": tmp_path / "passed.json",
    }
    # From some weight decay on nothing is learnt, which the others' median shows.
    result = run(
        inputs,
        tmp_path / "out",
        trials=7,
        startup_trials=3,
        weight_decay=(1e-5, 20.0),
        stage1={"epochs": 8, "augment": {"crop_padding": 1, "horizontal_flip": False}},
    )
    pruned = [row for row in result["trials"] if row["state"] == "PRUNED"]
    assert pruned and all(len(row["by_epoch"]) < 8 and row["score"] is None for row in pruned)
    assert result["score"] > 0.5


def test_a_search_in_which_all_fails_says_why(inputs, tmp_path):
    with pytest.raises(LongtailError, match=r"none of 2 trials.*diverged"):
        run(inputs, tmp_path / "out", trials=2, stage1={"learning_rate": 1e12})


def test_a_killed_search_goes_on_and_ends_as_an_undisturbed_one(inputs, tmp_path):
    parameters = tmp_path / "params.yaml"
    content = {
        "represent": {**SMALL, "epochs": 30},
        "search": {"trials": 3, "prune": False},
        "register": {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"},
    }
    parameters.write_text(yaml.safe_dump(content))
    process = command(inputs, parameters, tmp_path / "killed")
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and not list(tmp_path.glob(".killed.study/*/trial-*")):
        time.sleep(0.05)  # the first trial is at its end: the second is about to start
    time.sleep(1.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    assert command(inputs, parameters, tmp_path / "killed").wait() == 0
    assert command(inputs, parameters, tmp_path / "undisturbed").wait() == 0

    def rows(name: str) -> list[dict[str, Any]]:
        trials = read_json(Search(tmp_path / name).result)["trials"]
        return [{k: v for k, v in row.items() if k != "number"} for row in trials]

    assert rows("killed") == rows("undisturbed")
    (study,) = tmp_path.glob(".killed.study/*/study.db")
    loaded = optuna.load_study(study_name="weight_decay", storage=f"sqlite:///{study}")
    assert len(loaded.get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == 3


def command(inputs: dict[str, Path], parameters: Path, out: Path) -> "subprocess.Popen[bytes]":
    options = [f"--{name}={path}" for name, path in {**inputs, "out": out}.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "longtail", "search", *options, f"--params={parameters}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=parameters.parent,
    )


def test_applying_keeps_the_comments(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("# mine\nrepresent:\n  weight_decay: 2.0e-4  # the field's\n  epochs: 3\n")
    set_weight_decay(params, 0.0014051)
    text = params.read_text()
    assert "# mine" in text and "# the field's" in text
    assert yaml.safe_load(text)["represent"] == {"weight_decay": 0.001405, "epochs": 3}
