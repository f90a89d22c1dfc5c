"""Who gets what from whom in a compiled pipeline, through all nesting."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from longtail.config.params import FLOW
from longtail.config.resources import ResourcesConfig
from longtail.config.section import parse
from pipelines.compiling import compiled
from pipelines.parameters import plain, read_parameters
from pipelines.training import build

Source = tuple[str, str]  # task and its output, or `` and a parameter of the pipeline
CHANNEL = "pipelinechannel--"
PARAMS = Path(__file__).parents[2] / "params.yaml"


@dataclass
class Task:
    name: str
    spec: dict[str, Any]
    component: str
    inputs: dict[str, Source] = field(default_factory=dict)  # what is no constant

    @property
    def cached(self) -> bool:
        return bool(self.spec["cachingOptions"].get("enableCache"))

    @property
    def retries(self) -> int:
        return int(self.spec.get("retryPolicy", {}).get("maxRetryCount", 0))


class Graph:
    """A compiled pipeline; `tasks` are those that run a container, by name."""

    def __init__(self, text: str) -> None:
        self.spec, *platforms = yaml.load_all(text, Loader=yaml.CSafeLoader)
        self.executors = self.spec["deploymentSpec"]["executors"]
        self.platform = platforms[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.parameters = self.spec["root"]["inputDefinitions"]["parameters"]
        outside = {name: ("", name) for name in self.parameters}
        self.tasks = {task.name: task for task in self._walk(self.spec["root"], outside)}

    def container(self, task: str) -> dict[str, Any]:
        label = self.spec["components"][self.tasks[task].component]["executorLabel"]
        return self.executors[label]["container"]

    def pod(self, task: str) -> dict[str, Any]:
        label = self.spec["components"][self.tasks[task].component]["executorLabel"]
        return self.platform[label]

    def variables(self, task: str) -> dict[str, str]:
        return {entry["name"]: entry["value"] for entry in self.container(task)["env"]}

    def _walk(self, component: dict[str, Any], outside: dict[str, Source]) -> Iterator[Task]:
        for name, spec in component["dag"]["tasks"].items():
            given = spec.get("inputs", {})
            entries = {**given.get("parameters", {}), **given.get("artifacts", {})}
            inputs = {
                key: source
                for key, entry in entries.items()
                if (source := _source(entry, outside)) is not None
            }
            called = spec["componentRef"]["name"]
            inner = self.spec["components"][called]
            if "dag" in inner:
                yield from self._walk(inner, inputs)
            else:
                yield Task(name, spec, called, inputs)


def _source(entry: dict[str, Any], outside: dict[str, Source]) -> Source | None:
    if found := entry.get("taskOutputArtifact"):
        return found["producerTask"], found["outputArtifactKey"]
    if found := entry.get("taskOutputParameter"):
        return found["producerTask"], found["outputParameterKey"]
    inherited = entry.get("componentInputArtifact") or entry.get("componentInputParameter")
    return outside[inherited] if inherited else None


def equipped(**resources: Any) -> Graph:
    """Return the graph of this repository's parameters with these `resources`."""
    sections = {name: plain(model()) for name, model in FLOW.items() if name != "split"}
    sections["split"] = read_parameters(PARAMS)["split"]
    return Graph(compiled(build(sections, parse(ResourcesConfig, resources, where="test"))))
