"""Stage 1 killed and gone on with, and on several processes: the same weights in the end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from longtail.artifacts import Representation
from longtail.cost import recorded
from longtail.files import read_json
from longtail.steps.represent import represent
from tests.steps.artifact_fixtures import digests
from tests.steps.represent_fixtures import command, config, inputs, judged_again

__all__ = ["inputs"]  # fixture


WORKER = Path(__file__).with_name("train_worker.py")


def test_a_killed_run_resumes_to_the_same_weights(inputs, tmp_path):
    """SIGTERM in the middle of an epoch, then the same command again, with EMA and mixup on."""
    parameters = tmp_path / "params.yaml"
    parameters.write_text(
        "represent: {image_size: 8, epochs: 16, batch_size: 4, warmup_epochs: 1, ema_decay: 0.9,"
        " learning_rate: 0.02, augment: {mixup_alpha: 0.4}}\n"
    )
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert command("represent", inputs, parameters, undisturbed).wait() == 0

    process = command("represent", inputs, parameters, killed)
    checkpoint = tmp_path / ".killed.checkpoint" / "training.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert not killed.exists(), "a killed step leaves no half artifact"
    assert torch.load(checkpoint, weights_only=True)["state"]["epoch"] < 16

    assert command("represent", inputs, parameters, killed).wait() == 0
    assert digests(killed) == digests(undisturbed)


def test_cost_and_forecast_of_a_resumed_training_know_what_it_spent_before(
    inputs, tmp_path, caplog
):
    def end_in_the_second(history):
        if len(history) == 2:
            raise KeyboardInterrupt

    out, checkpoint = tmp_path / "out", tmp_path / ".out.checkpoint" / "training.pt"
    with pytest.raises(KeyboardInterrupt):
        represent(config(epochs=3), **inputs, out=out, after_epoch=end_in_the_second)
    content = torch.load(checkpoint, weights_only=True)
    assert 0 < content["state"]["seconds"] < 100
    content["state"]["seconds"] = 960.0
    torch.save(content, checkpoint)
    with caplog.at_level("INFO", logger="longtail"), recorded("represent", into=tmp_path):
        represent(config(epochs=3), **inputs, out=out)
    assert 960 < read_json(tmp_path / "represent.json")["wall_seconds"] < 1060
    second = next(line for line in caplog.messages if line.startswith("epoch 2 of 3"))
    assert second.endswith("8 min to go")  # as long as each of the first two, 480 s
    with recorded("represent", into=tmp_path):
        represent(config(epochs=3), **inputs, out=out)
    assert read_json(tmp_path / "represent.json")["wall_seconds"] < 100


def test_a_checkpoint_of_other_parameters_is_not_used(inputs, tmp_path):
    represent(config(epochs=1), **inputs, out=tmp_path / "expected")
    leftover = tmp_path / ".out.checkpoint"
    leftover.mkdir()
    torch.save({"key": "another", "state": {}, "tensors": {}}, leftover / "training.pt")
    represent(config(epochs=1), **inputs, out=tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "expected")


@pytest.mark.parametrize("length", [0, 1000])
def test_a_checkpoint_that_a_power_cut_has_torn_is_not_used(inputs, tmp_path, caplog, length):
    represent(config(epochs=1), **inputs, out=tmp_path / "expected")
    torn = tmp_path / ".out.checkpoint" / "training.pt"
    torn.parent.mkdir()
    torch.save({"key": "another", "state": {}, "tensors": {"a": torch.ones(999)}}, torn)
    os.truncate(torn, length)
    represent(config(epochs=1), **inputs, out=tmp_path / "out")
    assert "is torn" in caplog.text and not torn.parent.exists()
    assert digests(tmp_path / "out") == digests(tmp_path / "expected")


def test_two_processes_train_on_disjoint_shares_of_the_same_batches(inputs, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    worker = [WORKER, inputs["images"], inputs["train"].parent]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for out, launcher in ((alone, []), (together, torchrun)):
        out.mkdir()
        subprocess.run(
            [sys.executable, *launcher, *worker, out],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
        )
    single = load_file(alone / "rank0.safetensors")
    ranks = [load_file(together / f"rank{rank}.safetensors") for rank in (0, 1)]
    steps = [name for name in single if name.startswith("seen.")]
    assert len(steps) == 3 * 3
    for step in steps:
        parts = [rank[step] for rank in ranks]
        assert torch.cat(parts).equal(single[step])
    for name in single.keys() - set(steps):
        torch.testing.assert_close(ranks[0][name], single[name], rtol=1e-4, atol=1e-6)
        assert ranks[0][name].equal(ranks[1][name])


def test_torchrun_writes_one_artifact_and_one_line_an_epoch(inputs, tmp_path):
    parameters = tmp_path / "params.yaml"
    parameters.write_text(
        "represent: {image_size: 8, epochs: 2, warmup_epochs: 0, ema_decay: 0.5}\n"
    )
    paths = {**inputs, "out": tmp_path / "out", "params": parameters}
    options = [f"--{name}={path}" for name, path in paths.items()]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "longtail", "represent", *options],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert [done.stderr.count(f"epoch {n} of 2: loss ") for n in (1, 2)] == [1, 1]
    # Every rank has judged its part of val by the statistics of BatchNorm that were saved.
    best = read_json(Representation(tmp_path / "out").description)["val"]
    assert best == pytest.approx(best | judged_again(tmp_path / "out", inputs), rel=1e-4)
