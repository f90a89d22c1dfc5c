"""Training state on disk, so that a killed run goes on where it was."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from longtail.files import whole_file

log = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Where a run is and what it has seen; weights and optimizer state are saved beside it."""

    epoch: int = 0
    step: int = 0  # within the epoch
    loss_sum: float = 0.0
    correct: float = 0.0
    seen: float = 0.0
    best_epoch: int = -1
    best_score: float = -1.0
    seconds: float = 0.0  # of wall time, in this process and those before it
    history: list[dict[str, float]] = field(default_factory=list)

    def start_epoch(self, epoch: int) -> None:
        """Move to the start of `epoch`."""
        self.epoch, self.step = epoch, 0
        self.loss_sum = self.correct = self.seen = 0.0


def save_checkpoint(path: Path, *, key: str, state: TrainingState, tensors: dict[str, Any]) -> None:
    """Replace the checkpoint, whole or not at all; `key` identifies inputs and configuration."""
    with whole_file(path) as partial, partial.open("wb") as file:
        # Of a path torch writes itself, and of a full disk says nothing that could be understood.
        torch.save({"key": key, "state": vars(state), "tensors": tensors}, file)


def load_checkpoint(path: Path, *, key: str) -> tuple[TrainingState, dict[str, Any]] | None:
    """Return state and tensors of a checkpoint of the same inputs and configuration, or None.

    One that cannot be parsed, as after a disk ran full or lost power, is none.
    """
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, UnpicklingError) as error:
        log.warning("%s is torn (%s); training starts anew", path, error)
        return None
    if content["key"] != key:
        log.warning("%s is of other inputs or parameters; training starts anew", path)
        return None
    return TrainingState(**content["state"]), content["tensors"]


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, and its directory if nothing else is there."""
    path.unlink(missing_ok=True)
    if not any(path.parent.iterdir()):
        path.parent.rmdir()


class StopRequest:
    """Whether SIGTERM has arrived."""

    def __init__(self) -> None:
        self.arrived = False

    def __call__(self, *_: Any) -> None:
        self.arrived = True


@contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """Note SIGTERM instead of dying from it, so that the loop can save first."""
    request = StopRequest()
    before = signal.signal(signal.SIGTERM, request)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
