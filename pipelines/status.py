"""What has become of a run: every step's state, and whether it ran or came from the cache.

The API shows the nodes of the Argo workflow. A step `split` is three of them: `split-driver`, which
looks into the cache, `split`, which succeeds either way, and its child `executor`, which is the
pod, and which is skipped if the cache had the result. Children are named by ids that share only
their last part, a hash, with the name of the node they mean.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

FINISHED = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
_WORDS = {
    "SUCCEEDED": "ran",
    "FAILED": "failed",
    "CANCELED": "canceled",
    "CANCELING": "canceling",
    "SKIPPED": "skipped",
    "RUNNING": "running",
    "PAUSED": "paused",
}


class Node(Protocol):
    """The fields of the API's `PipelineTaskDetail` that are used here."""

    display_name: str
    pod_name: str
    state: str
    start_time: datetime | None
    end_time: datetime | None
    child_tasks: list[Any] | None


@dataclass(frozen=True)
class Task:
    """A step as the pipeline's specification has it; `caches` is whether it may be cached."""

    label: str
    caches: bool


@dataclass(frozen=True)
class Step:
    """`state`: waiting, running, ran, cached, failed, skipped, canceled or not run."""

    name: str
    state: str
    seconds: float | None
    caches: bool


@dataclass(frozen=True)
class RunStatus:
    """A run, its state in the API's word, and its steps in the order in which they began."""

    run_id: str
    name: str
    state: str
    steps: list[Step]
    link: str
    error: str | None

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to this run."""
        return self.state in FINISHED

    @property
    def nothing_changed(self) -> bool:
        """Whether every step that may come from the cache did."""
        done = {step.state for step in self.steps if step.caches} - {"not run"}
        return self.state == "SUCCEEDED" and done == {"cached"}

    def lines(self) -> list[str]:
        """Return the run as people read it."""
        width = max((len(step.name) for step in self.steps), default=0)
        head = f"{self.name}  {self.state.lower()}  {self.link}"
        return [head, *(_line(step, width) for step in self.steps), *self._conclusion()]

    def _conclusion(self) -> Iterator[str]:
        if self.error:
            yield f"Error: {self.error}"
        if self.nothing_changed:
            always = ", ".join(s.name for s in self.steps if not s.caches and s.state == "ran")
            cached = sum(step.state == "cached" for step in self.steps)
            besides = f"; {always} always run" if always else ""
            yield f"Nothing changed: all {cached} steps were cached{besides}."
        elif self.state == "SUCCEEDED":
            ran = ", ".join(s.name for s in self.steps if s.caches and s.state == "ran")
            yield f"Computed anew: {ran}."


def run_status(run: Any, spec: Mapping[str, Any], *, link: str) -> RunStatus:
    """Return the status of the API's `run`, whose pipeline has the specification `spec`."""
    details = run.run_details.task_details if run.run_details else None
    steps = list(_steps(details or [], tasks_of(spec), finished=run.state in FINISHED))
    error = run.error.message if run.error else None
    return RunStatus(run.run_id, run.display_name, run.state or "PENDING", steps, link, error)


def tasks_of(spec: Mapping[str, Any]) -> dict[str, Task]:
    """Return all tasks that are containers, by name, those in loops and branches too."""
    components = spec.get("components", {})
    graphs = [spec["root"], *components.values()]
    return {
        name: Task(
            task.get("taskInfo", {}).get("name", name),
            bool(task.get("cachingOptions", {}).get("enableCache")),
        )
        for graph in graphs
        for name, task in graph.get("dag", {}).get("tasks", {}).items()
        if "executorLabel" in components[task["componentRef"]["name"]]
    }


def _steps(nodes: Iterable[Node], tasks: Mapping[str, Task], *, finished: bool) -> Iterator[Step]:
    nodes = sorted(nodes, key=lambda n: (n.start_time is None, str(n.start_time), n.display_name))
    by_hash = {_hash(node.pod_name): node for node in nodes}
    seen = set()
    for driver in nodes:
        name = driver.display_name.removesuffix("-driver")
        if name not in tasks or name == driver.display_name:
            continue
        seen.add(name)
        node = next((c for c in _children(driver, by_hash) if c.display_name == name), None)
        executors = [] if node is None else _children(node, by_hash)
        state = _state(driver, node, executors)
        seconds = _seconds(node) if node is not None and state == "ran" else None
        yield Step(tasks[name].label, state, seconds, tasks[name].caches)
    for name in [name for name in tasks if name not in seen]:
        yield Step(
            tasks[name].label, "not run" if finished else "waiting", None, tasks[name].caches
        )


def _state(driver: Node, node: Node | None, executors: list[Node]) -> str:
    if node is None:
        return "waiting" if driver.state == "SUCCEEDED" else _WORDS.get(driver.state, "waiting")
    skipped = any(e.display_name == "executor" and e.state == "SKIPPED" for e in executors)
    if node.state == "SUCCEEDED" and skipped:
        return "cached"
    return _WORDS.get(node.state, "waiting")


def _children(node: Node, by_hash: Mapping[str, Node]) -> list[Node]:
    hashes = [_hash(child.pod_name) for child in node.child_tasks or ()]
    return [by_hash[key] for key in hashes if key in by_hash]


def _hash(pod_name: str | None) -> str:
    return (pod_name or "").rpartition("-")[2]


def _seconds(node: Node) -> float | None:
    if node.start_time is None or node.end_time is None:
        return None
    return max(0.0, (node.end_time - node.start_time).total_seconds())


def _line(step: Step, width: int) -> str:
    seconds = "" if step.seconds is None else f"{step.seconds:7.0f} s"
    return f"  {step.name:<{width}}  {step.state:<8}{seconds}".rstrip()
