"""Run the cells of a study side by side, each in a process; what is done already is left alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from longtail.config.ingest import IngestConfig
from longtail.errors import LongtailError
from longtail.files import read_json, write_json
from longtail.parallel import usable_cores
from longtail.study.grid import Cell
from longtail.study.records import CellRecords
from longtail.study.tasks import Task, drop_outdated, source_of, tasks


@dataclass(frozen=True)
class State:
    """Where a cell stands: done, running, failed (with the error), or waiting; and its tasks."""

    cell: Cell
    name: str
    error: str | None
    tasks: dict[str, Task]


def fingerprint_sources(cells: Sequence[Cell], store: Path) -> dict[Path, str]:
    """Look at every source afresh: what changed since has other keys from here on.

    Returns:
        The errors of sources that cannot be read, by where their fingerprint would lie.
    """
    from longtail.steps.fingerprint import fingerprint

    errors = {}
    for path, config in {
        source_of(c.params["ingest"], store): c.params["ingest"] for c in cells
    }.items():
        assert isinstance(config, IngestConfig)
        try:
            fingerprint(config, out=path)
        except LongtailError as error:
            errors[path] = str(error)
    return errors


def state(cell: Cell, store: Path) -> State:
    """Look up what is there of a cell."""
    source = source_of(cell.params["ingest"], store)
    known = source.is_file()
    chain = tasks(cell.params, source=source, store=store) if known else {}
    if known and all(task.done for task in chain.values()):
        return State(cell, "done", None, chain)
    records = CellRecords(cell, store)
    if records.being_written():
        return State(cell, "running", None, chain)
    if records.failure.is_file():
        return State(cell, "failed", str(read_json(records.failure)["error"]), chain)
    return State(cell, "waiting", None, chain)


def run(
    cells: Sequence[Cell],
    *,
    store: Path,
    workers: int,
    gpus: Sequence[str] = (),
    tell: Callable[[str], None],
) -> list[State]:
    """Run every cell that is not done; a failed one is recorded and stops no other.

    A kill stops the cells too: training goes on from its checkpoint in the next call.

    Args:
        cells: all cells of a study, in order.
        store: directory of the results.
        workers: cells at a time, no more than there are to run; they share the cores evenly.
        gpus: names for `CUDA_VISIBLE_DEVICES`; of several, each worker has one.
        tell: gets a line whenever a cell ends.
    """
    unreadable = fingerprint_sources(cells, store)
    before = [state(cell, store) for cell in cells]
    waiting = [i for i, found in enumerate(before) if found.name != "done"]
    for i in waiting:
        drop_outdated(before[i].tasks)
    workers = max(1, min(workers, len(waiting)))
    started = time.monotonic()
    with ThreadPoolExecutor(workers) as pool, _children(pool) as children:
        places = _places(workers, gpus)
        runs = {}
        for i in waiting:
            error = unreadable.get(source_of(cells[i].params["ingest"], store))
            runs[pool.submit(_run_one, cells[i], store, places, children, error)] = i
        for count, future in enumerate(as_completed(runs), start=1):
            future.result()
            elapsed = (time.monotonic() - started) / 60
            left = elapsed / count * (len(waiting) - count)
            ended = state(cells[runs[future]], store)
            tell(
                f"{count} of {len(waiting)}: {ended.cell.name}: {ended.error or ended.name}; "
                f"{elapsed:.0f} min, about {left:.0f} to go"
            )
    return [state(cell, store) for cell in cells]


def _run_one(
    cell: Cell,
    store: Path,
    places: "SimpleQueue[dict[str, str]]",
    children: "_Children",
    error: str | None,
) -> None:
    """Run a cell in a process, or note the `error` that stands against it."""
    records = CellRecords(cell, store)
    records.failure.unlink(missing_ok=True)
    if error is not None:
        write_json(records.failure, {"error": error})
        return
    write_json(records.params, records.content)
    command = [sys.executable, "-m", "longtail.study.worker", str(records.params), str(store)]
    place = places.get()
    try:
        with records.writing() as output:
            status = children.run(command, {**os.environ, **place}, output)
    finally:
        places.put(place)
    if status != 0 and not children.stopping:
        error = _last_words(records.lines(), status)
        write_json(records.failure, {"error": error, "log": records.log.name})


def _places(workers: int, gpus: Sequence[str]) -> "SimpleQueue[dict[str, str]]":
    """Environments to run in, one a worker: its share of the cores, and one of several GPUs."""
    threads = max(1, usable_cores() // workers)
    places: SimpleQueue[dict[str, str]] = SimpleQueue()
    for worker in range(workers):
        gpu = {"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)]} if len(gpus) > 1 else {}
        places.put({"OMP_NUM_THREADS": str(threads), **gpu})
    return places


def _last_words(lines: list[str], status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        return f"killed by {name}; if memory ran out, run fewer cells at a time with --workers"
    start = next((i for i, line in enumerate(lines) if line.startswith("longtail: ")), -1)
    return "\n".join(lines[start:]).removeprefix("longtail: ") or f"ended with status {status}"


class _Children:
    """The processes of the cells that run now."""

    def __init__(self) -> None:
        self.stopping = False
        self._starting = threading.Lock()  # none starts once they are being stopped
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, command: list[str], environment: dict[str, str], output: IO[bytes]) -> int:
        with self._starting:
            if self.stopping:
                return 1
            child = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment
            )
            self._running.append(child)
        return child.wait()

    def stop(self) -> None:
        """Let every process write its checkpoint and end."""
        with self._starting:
            self.stopping = True
            for child in self._running:
                if child.poll() is None:
                    child.terminate()


@contextmanager
def _children(pool: ThreadPoolExecutor) -> Iterator[_Children]:
    """Yield the children; whatever ends the block early ends them, and starts no more.

    SIGTERM ends it as Ctrl-C does.
    """
    children = _Children()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield children
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        children.stop()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
