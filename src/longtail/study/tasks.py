"""The flow of a cell as keyed tasks: equal parameters on equal inputs are one task, run once."""

import fcntl
import importlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import longtail
from longtail.artifacts import Split, Validation
from longtail.config.section import Section
from longtail.files import content_digest, file_digest

# Step -> what its function reads, by argument, and the step that writes it.
INPUTS: dict[str, dict[str, str]] = {
    "ingest": {"source": "fingerprint"},
    "split": {"images": "ingest"},
    "validate": {"images": "ingest", "split": "split"},
    "represent": {
        "images": "ingest",
        "train": "split",
        "val": "split",
        "profile": "split",
        "validation": "validate",
    },
    "embed": {"images": "ingest", "train": "split", "val": "split", "representation": "represent"},
    "classify": {"features": "embed", "representation": "represent"},
    "tau_norm": {"features": "embed", "representation": "represent", "classifier": "classify"},
    "evaluate": {
        "images": "ingest",
        "test": "split",
        "profile": "split",
        "representation": "represent",
        "classifier": "classify",
        "tau_norm": "tau_norm",
    },
}


@dataclass(frozen=True)
class Task:
    """A step with everything that decides its result, and where that result lies."""

    step: str
    out: Path

    @property
    def done(self) -> bool:
        """Whether the result is there; it appears whole, of a failed validation without a seal."""
        if self.step == "validate":
            return Validation(self.out).seal.is_file()
        return self.out.is_dir()

    @property
    def cost(self) -> Path:
        """Directory of `<step>.json`: seconds and memory."""
        return self.out.with_name(f"{self.out.name}.cost")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process works on this task; a dead one keeps nobody waiting."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with self.out.with_name(f"{self.out.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def tasks(params: Mapping[str, Section], *, source: Path, store: Path) -> dict[str, Task]:
    """Return the tasks of a cell in flow order.

    A step is a pure function of its section and inputs, so its key is a digest of the section and
    of the keys of what it reads.

    Args:
        params: the sections. source: the fingerprint of the source, a file.
        store: a task's result is `store/<step>/<key>`.
    """
    keys = {"fingerprint": file_digest(source)}
    for step, inputs in INPUTS.items():
        before = sorted({keys[producer] for producer in inputs.values()})
        content = [step, longtail.__version__, params[step].model_dump(mode="json"), before]
        keys[step] = content_digest(content)[:16]
    return {step: Task(step, store / step / keys[step]) for step in INPUTS}


def drop_outdated(chain: Mapping[str, Task]) -> None:
    """Remove results that were made from one that is gone since, as somebody deleted it."""
    gone: set[str] = set()
    for step, task in chain.items():
        outdated = not gone.isdisjoint(INPUTS[step].values())
        if outdated and task.done:
            shutil.rmtree(task.out)
        if not task.done:
            gone.add(step)


def run_task(task: Task, params: Section, chain: Mapping[str, Task], *, source: Path) -> None:
    """Run one step on the results of those before it in its chain of tasks."""
    step = getattr(importlib.import_module(f"longtail.steps.{task.step}"), task.step)
    at = {"fingerprint": source, **{name: other.out for name, other in chain.items()}}
    paths = {name: _path(name, at[producer]) for name, producer in INPUTS[task.step].items()}
    step(params, **paths, out=task.out)


def _path(argument: str, artifact: Path) -> Path:
    """The file of an artifact that an argument is, or all of it."""
    if argument in ("train", "val", "test", "profile"):
        return Path(getattr(Split(artifact), argument))
    return Validation(artifact).seal if argument == "validation" else artifact


def source_of(ingest: Section, store: Path) -> Path:
    """Where the fingerprint of a cell's source lies."""
    return store / "source" / f"{content_digest(ingest.model_dump(mode='json'))[:16]}.json"
