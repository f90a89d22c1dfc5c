"""The nodes of an Argo workflow as KFP's API shows them, for a run of a compiled pipeline.

Names follow `RetrievePodName` and the Argo compiler of kubeflow/pipelines (release 2.17): a node's
`pod_name` is workflow, template and hash, its children are named by workflow and hash.
"""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

STARTED = "2026-01-01T00:00:{:02d}Z"


def nodes(
    spec: Mapping[str, Any],
    *,
    cached: set[str] = frozenset(),
    states: Mapping[str, str] = {},
    untouched: set[str] = frozenset(),
) -> list[dict[str, Any]]:
    """Return `task_details`.

    Args:
        cached: tasks whose pods were skipped because the cache had their results.
        states: of tasks that have not succeeded; RUNNING without a node: the driver still works.
        untouched: tasks and graphs that have no nodes, because something before them failed.
    """
    return list(_graph(spec, spec["root"], cached, states, untouched))


def _graph(spec, graph, cached, states, untouched) -> Iterator[dict[str, Any]]:
    for name, task in graph["dag"]["tasks"].items():
        if name in untouched:
            continue
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            yield _node(f"{name}-driver", "system-dag-driver", [name])
            yield _node(name, task["componentRef"]["name"], [])
            yield from _graph(spec, component, cached, states, untouched)
        else:
            yield from _container(name, cached=name in cached, state=states.get(name))


def _container(name: str, *, cached: bool, state: str | None) -> Iterator[dict[str, Any]]:
    driving = state == "DRIVING"
    driver = "RUNNING" if driving else "SUCCEEDED"
    yield _node(f"{name}-driver", "system-container-driver", [] if driving else [name], driver)
    if driving:
        return
    yield _node(name, "system-container-executor", [f"{name}/executor"], state or "SUCCEEDED")
    pod = _node("executor", "system-container-impl", [], "SKIPPED" if cached else state)
    yield {**pod, "pod_name": f"flow-x1-system-container-impl-{_hash(f'{name}/executor')}"}


def _node(
    name: str, template: str, children: list[str], state: str | None = None
) -> dict[str, Any]:
    return {
        "display_name": name,
        "pod_name": f"flow-x1-{template}-{_hash(name)}",
        "state": state or "SUCCEEDED",
        "start_time": STARTED.format(1),
        "end_time": STARTED.format(8),
        "child_tasks": [{"pod_name": f"flow-x1-{_hash(child)}"} for child in children],
    }


def _hash(name: str) -> str:
    return str(zlib.crc32(name.encode()))
