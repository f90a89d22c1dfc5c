"""Stage 1 in a pod: one process or one a device, its checkpoint outliving the pod."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from components import nodes
from components.running import state
from longtail.config.represent import RepresentConfig
from longtail.files import content_digest
from longtail.io.mirror import mirrored
from longtail.steps.represent import represent, training_key


def train(
    config: RepresentConfig, *, processes: int, paths: dict[str, Path], code_rev: str = ""
) -> None:
    """Run the step `represent`, under torchrun if there are several processes.

    With a state (see `components.running`) its checkpoint is kept there, under a name that only
    the same training has. A pod that is to launch a TrainJob has its nodes do it.

    Args:
        paths: the step's inputs and `out`, by argument.
        code_rev: the code and the image; other code does not go on with this checkpoint.
    """
    tables = {name: paths[name] for name in ("train", "val", "profile")}
    key = content_digest([training_key(config, **tables), code_rev])
    if (manifest := nodes.template()) is not None:
        nodes.train_on_nodes(config, manifest, key=key, paths=paths)
    elif processes > 1:
        here = ("--standalone", "--nproc-per-node", str(processes))
        torchrun(config, placed=here, paths=paths, key=key)
    else:
        with _checkpoint(key) as checkpoint:
            represent(config, checkpoint=checkpoint, **paths)  # type: ignore[arg-type]


def _checkpoint(key: str) -> AbstractContextManager[Path | None]:
    return mirrored(state(), f"checkpoints/{key[:32]}") if state() else nullcontext()


def torchrun(
    config: RepresentConfig, *, placed: Sequence[str], paths: dict[str, Path], key: str
) -> None:
    """Run the step under torchrun, and end this process with an error if it fails.

    Args:
        placed: torchrun's options for how many processes there are, and where; those that are
            missing come from its variables.
        key: what the checkpoint is kept under in the state, if there is one.
    """
    with tempfile.TemporaryDirectory() as scratch, _checkpoint(key) as checkpoint:
        options: dict[str, Any] = {**paths} | ({"checkpoint": checkpoint} if checkpoint else {})
        params = Path(scratch) / "params.yaml"
        params.write_text(yaml.safe_dump({"represent": config.model_dump(mode="json")}))
        command = [
            *(sys.executable, "-m", "torch.distributed.run", *placed, "-m", "longtail"),
            *("represent", "--params", str(params)),
            *(word for name, path in options.items() for word in (f"--{name}", str(path))),
        ]
        # One thread a process, as torchrun sets for several: a node's share must not depend on it.
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        # In `scratch` the command notes its cost.
        process = subprocess.Popen(command, cwd=scratch, env=environment)
        # The kubelet tells this process alone that the pod ends; the trainers save on SIGTERM.
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        if status := process.wait():
            sys.exit(
                f"longtail: stage 1 ended with status {status}; the log of represent says why above"
            )
