"""Stage 1 as its component runs it: several processes, and a checkpoint that outlives the pod."""

from pathlib import Path

import pytest

from components.running import recorded, records
from components.training import train
from longtail.config.represent import RepresentConfig
from longtail.files import file_digest, read_json
from longtail.steps.represent import represent
from tests.steps.artifact_fixtures import digests
from tests.steps.represent_fixtures import config, inputs

__all__ = ["inputs"]  # a fixture


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTAIL_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_one_process_is_the_step_itself(inputs, tmp_path):
    represent(config(), **inputs, out=tmp_path / "step")
    train(config(), processes=1, paths={**inputs, "out": tmp_path / "component"})
    assert digests(tmp_path / "component") == digests(tmp_path / "step")


def test_several_processes_write_one_artifact(inputs, tmp_path, state):
    train(config(), processes=2, paths={**inputs, "out": tmp_path / "out"})
    assert len(read_json(tmp_path / "out" / "history.json")) == 2
    assert not list(state.rglob("*.pt"))


def test_what_training_raises_ends_the_component_and_its_record_says_where_to_look(
    inputs, tmp_path, state
):
    absent = inputs | {"validation": tmp_path / "absent.json"}
    with pytest.raises(SystemExit, match="stage 1 ended with status"), recorded("represent"):
        train(config(), processes=2, paths={**absent, "out": tmp_path / "out"})
    assert "the log of represent says why" in records()["represent"]["error"]


def test_an_interrupted_training_goes_on_in_another_pod(inputs, tmp_path, state):
    """The second pod has another output path, and finds the checkpoint in the state."""
    represent(config(), **inputs, out=tmp_path / "undisturbed")

    class Killed(Exception):
        pass

    def killed(history) -> None:
        if len(history) == 2:
            raise Killed

    from components import training

    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            training,
            "represent",
            lambda *args, **kwargs: represent(*args, **kwargs, after_epoch=killed),
        )
        train(config(), processes=1, paths={**inputs, "out": tmp_path / "first" / "out"})
    [checkpoint] = state.rglob("training.pt")
    before = file_digest(checkpoint)
    other: RepresentConfig = config(learning_rate=0.01)
    train(other, processes=1, paths={**inputs, "out": tmp_path / "other"})
    newer = {**inputs, "out": tmp_path / "newer"}
    train(config(), processes=1, paths=newer, code_rev="another image")
    assert file_digest(checkpoint) == before, "another training leaves it alone"
    train(config(), processes=1, paths={**inputs, "out": tmp_path / "second" / "out"})
    assert digests(tmp_path / "second" / "out") == digests(tmp_path / "undisturbed")
    assert not list(state.rglob("*.pt"))
