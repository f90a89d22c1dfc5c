"""Cost records of the steps, kept outside of their outputs, whose hashes must not change."""

import logging
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longtail.errors import LongtailError
from longtail.files import write_json

COSTS = Path("reports/cost")
_earlier: list[float] = []  # seconds, of the step that runs now

log = logging.getLogger(__name__)


@contextmanager
def recorded(step: str, *, into: Path = COSTS) -> Iterator[None]:
    """Write `<step>.json` into a directory once the body succeeds; one record for all processes.

    `wall_seconds` (with what was `spent_before`), `cpu_seconds` (with children),
    `peak_memory_bytes` (this process and its largest child) and `peak_gpu_bytes` (null without a
    GPU). Libraries that the step imported before are in the CPU time and memory, not in the wall
    time. A record that cannot be written is a warning: the step is done.
    """
    _earlier.clear()
    started = time.perf_counter()
    yield
    if os.environ.get("RANK", "0") != "0":
        return
    record = {
        "step": step,
        "wall_seconds": round(time.perf_counter() - started + sum(_earlier), 3),
        "cpu_seconds": round(sum(os.times()[:4]), 3),
        "peak_memory_bytes": _peak_memory(),
        "peak_gpu_bytes": _peak_gpu_memory(),
    }
    try:
        write_json(into / f"{step}.json", record)
    except (OSError, LongtailError) as error:
        log.warning("what %s cost was not noted: %s", step, error)


def spent_before(seconds: float) -> None:
    """Add what processes before this one spent on the work that the step goes on with."""
    _earlier.append(seconds)


def _peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB, in bytes on macOS
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + children) * unit


def _peak_gpu_memory() -> int | None:
    torch = sys.modules.get("torch")  # a step without torch has used no GPU
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())
