"""Stage 1 in a pod: one process or one a device, its checkpoint outliving the pod."""

import signal
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from components.running import state
from longtail.config.training import RepresentConfig
from longtail.io.mirror import mirrored
from longtail.steps.represent import represent, training_key


def train(config: RepresentConfig, *, processes: int, paths: dict[str, Path]) -> None:
    """Run the step `represent`, under torchrun if there are several processes.

    With a state (see `components.running`) its checkpoint is kept there, under a name that only
    the same training has.

    Args:
        paths: the step's inputs and `out`, by argument.
    """
    with _checkpoint(config, paths) as checkpoint:
        if processes > 1:
            _torchrun(config, processes=processes, checkpoint=checkpoint, paths=paths)
        else:
            represent(config, checkpoint=checkpoint, **paths)  # type: ignore[arg-type]


def _checkpoint(
    config: RepresentConfig, paths: dict[str, Path]
) -> AbstractContextManager[Path | None]:
    if not state():
        return nullcontext()
    tables = {name: paths[name] for name in ("train", "val", "profile")}
    return mirrored(state(), f"checkpoints/{training_key(config, **tables)[:32]}")


def _torchrun(
    config: RepresentConfig, *, processes: int, checkpoint: Path | None, paths: dict[str, Path]
) -> None:
    options: dict[str, Any] = {**paths} | ({"checkpoint": checkpoint} if checkpoint else {})
    with tempfile.TemporaryDirectory() as scratch:
        params = Path(scratch) / "params.yaml"
        params.write_text(yaml.safe_dump({"represent": config.model_dump(mode="json")}))
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), "-m", "longtail", "represent"),
            *("--params", str(params)),
            *(word for name, path in options.items() for word in (f"--{name}", str(path))),
        ]
        process = subprocess.Popen(command, cwd=scratch)  # where the command notes its cost
        # The kubelet tells this process alone that the pod ends; the trainers save on SIGTERM.
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        if process.wait():
            sys.exit(process.returncode)
