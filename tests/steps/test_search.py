"""The search on a few digits: what it reads, what it repeats, and how it goes on after a kill."""

import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from longtail.artifacts import Search, Split
from longtail.config.represent import RepresentConfig
from longtail.config.search import SearchConfig
from longtail.config.section import parse
from longtail.config.split import SplitConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json, write_json
from longtail.steps.search import search
from longtail.steps.split import split
from longtail.steps.trials import alone_in
from tests.steps.artifact_fixtures import digests
from tests.steps.ingest_fixtures import run_ingest
from tests.steps.represent_fixtures import command
from tests.steps.tiny_source import write_tiny_source
from tests.steps.validate_fixtures import digits, write_artifacts

SMALL = {"image_size": 8, "epochs": 3, "batch_size": 8, "warmup_epochs": 0, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("search")
    images, split = write_artifacts(root, digits())
    tables = Split(split)
    write_json(root / "passed.json", {"split": file_digest(tables.profile)})
    for unread in (tables.val, tables.test):
        unread.unlink()
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


def test_the_best_finished_trial_wins_and_a_second_search_says_the_same(inputs, tmp_path):
    result = run(inputs, tmp_path / "a", prune=False)
    scores = {row["weight_decay"]: row["score"] for row in result["trials"]}
    assert len(scores) == 3 and all(1e-5 <= decay <= 1e-1 for decay in scores)
    assert result["score"] == scores[result["weight_decay"]] == max(scores.values())
    assert 0 <= result["tau"] <= 2
    assert all(row["tau"] == round(row["tau"], 2) for row in result["tau_trials"])
    again = run(inputs, tmp_path / "b", prune=False)
    assert again == result
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_a_search_that_is_complete_trains_nothing_again(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    before = digests(tmp_path / "out")
    (trained,) = tmp_path.glob(".out.study/*/trial-*/backbone.safetensors")
    written = trained.stat().st_mtime_ns
    run(inputs, tmp_path / "out")
    assert digests(tmp_path / "out") == before and trained.stat().st_mtime_ns == written


def test_tau_is_the_best_of_those_tried_of_equal_ones_the_smallest(inputs, tmp_path):
    result = run(inputs, tmp_path / "out", trials=1, tau_trials=12)
    tried = {row["tau"]: row["score"] for row in result["tau_trials"]}
    assert len(result["tau_trials"]) == 12 and {0.0, 1.0} <= tried.keys()
    assert result["score_with_tau"] == max(tried.values())
    assert result["tau"] == min(tau for tau in tried if tried[tau] == max(tried.values()))


def test_a_cosine_head_has_no_tau(inputs, tmp_path):
    result = run(inputs, tmp_path / "out", trials=1, stage1={"head": "cosine"})
    assert result["tau"] is None and result["tau_trials"] == []


def test_the_parts_are_of_the_training_images_alone(inputs, tmp_path):
    run(inputs, tmp_path / "out", trials=1)
    (parts,) = tmp_path.glob(".out.study/*/split")
    train, judges = (pq.read_table(parts / f"{part}.parquet")["index"] for part in ("train", "val"))
    whole = pq.read_table(inputs["train"])["index"].to_pylist()
    assert sorted(train.to_pylist() + judges.to_pylist()) == sorted(whole)


def test_more_trials_add_to_the_earlier_ones_and_each_is_told(inputs, tmp_path, caplog):
    caplog.set_level("INFO", logger="longtail")
    first = run(inputs, tmp_path / "out", trials=2, prune=False)
    more = run(inputs, tmp_path / "out", trials=4, prune=False)
    assert more["trials"][:2] == first["trials"] and len(more["trials"]) == 4
    told = [line for line in caplog.messages if line.startswith("trial ")]
    assert [line.split(":")[0] for line in told] == [
        *("trial 1 of 2", "trial 2 of 2", "trial 3 of 4", "trial 4 of 4")
    ]
    assert f"complete, {100 * more['trials'][3]['score']:.2f} % held out" in told[3]


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
    # From some weight decay on nothing is learnt, as the others show.
    result = run(
        inputs,
        tmp_path / "out",
        trials=7,
        startup_trials=3,
        weight_decay=(1e-5, 20.0),
        stage1={"epochs": 8, "augment": {"crop_padding": 1, "horizontal_flip": False}},
    )
    pruned = [row for row in result["trials"] if row["state"] == "PRUNED"]
    assert pruned and all(4 < len(row["by_epoch"]) < 8 for row in pruned), "half is always tried"
    assert all(row["score"] is None for row in pruned)
    assert result["score"] > 0.5


def test_a_search_in_which_all_fails_says_why(inputs, tmp_path):
    with pytest.raises(LongtailError, match=r"none of 2 trials.*diverged"):
        run(inputs, tmp_path / "out", trials=2, stage1={"learning_rate": 1e12})


def test_any_error_of_a_trial_is_recorded(inputs, tmp_path):
    """Not only those that this package raises on purpose: here the images are gone."""
    empty = {**inputs, "images": tmp_path / "nowhere"}
    with pytest.raises(LongtailError, match=r"none of 2 trials.*FileNotFoundError"):
        run(empty, tmp_path / "out", trials=2)


def test_a_trial_that_fails_does_not_end_the_search(inputs, tmp_path, caplog):
    """A step of `learning_rate * weight_decay` above 2 makes every weight grow without bound."""
    caplog.set_level("INFO", logger="longtail")
    result = run(inputs, tmp_path / "out", trials=6, weight_decay=(1e-5, 1e9), prune=False)
    states = {row["state"] for row in result["trials"]}
    assert states == {"COMPLETE", "FAIL"} and len(result["trials"]) == 6
    assert all((row["state"] == "FAIL") == bool(row["error"]) for row in result["trials"])
    failed = {line.split()[1] for line in caplog.messages if " failed: " in line}
    assert failed and failed == {
        line.split()[1] for line in caplog.messages if line.endswith(": fail")
    }


def test_a_killed_search_goes_on_and_ends_as_an_undisturbed_one(inputs, tmp_path):
    parameters = tmp_path / "params.yaml"
    content = {
        "represent": {**SMALL, "epochs": 20},
        "search": {"trials": 3, "startup_trials": 1},
        "register": {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"},
    }
    parameters.write_text(yaml.safe_dump(content))
    process = command("search", inputs, parameters, tmp_path / "killed")
    deadline = time.monotonic() + 180
    amid = ".killed.study/*/.trial-1.checkpoint/training.pt"
    while time.monotonic() < deadline and not list(tmp_path.glob(amid)):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    assert command("search", inputs, parameters, tmp_path / "killed").wait() == 0
    assert command("search", inputs, parameters, tmp_path / "undisturbed").wait() == 0
    assert digests(tmp_path / "killed") == digests(tmp_path / "undisturbed")


def test_a_second_search_on_the_same_study_is_refused(inputs, tmp_path):
    run(inputs, tmp_path / "out", trials=1)
    (root,) = tmp_path.glob(".out.study/*")
    with alone_in(root), pytest.raises(LongtailError, match="another search works in"):
        run(inputs, tmp_path / "out", trials=2)


def test_what_fails_in_a_search_is_not_taken_for_another_search(tmp_path):
    with pytest.raises(BlockingIOError), alone_in(tmp_path):
        raise BlockingIOError


def test_torchrun_is_refused(inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LongtailError, match="torchrun started 2"):
        run(inputs, tmp_path / "out")


def test_fewer_epochs_than_warm_up_are_refused(inputs, tmp_path):
    with pytest.raises(LongtailError, match="warmup_epochs 3 must be below epochs 2"):
        run(inputs, tmp_path / "out", epochs=2, stage1={"epochs": 9, "warmup_epochs": 3})


def test_the_seal_of_another_split_is_refused(inputs, tmp_path):
    write_json(tmp_path / "passed.json", {"split": "0" * 64})
    with pytest.raises(LongtailError, match="run validate again"):
        run({**inputs, "validation": tmp_path / "passed.json"}, tmp_path / "out")
