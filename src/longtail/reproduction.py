"""Compare a model that was made again with the registered one, and say what differs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from longtail.artifacts import Evaluation
from longtail.files import file_digest, read_json

# In the order of the flow: the first that differs is where it went apart.
ARTIFACTS = ("split profile", "test split", "backbone", "heads")


@dataclass(frozen=True)
class Comparison:
    """The registered evaluation and the new one.

    Attributes:
        identical: the predictions are the same, byte for byte.
        artifacts: of each, in the order of the flow, whether it is the same.
        images: test images. changed: those predicted as another class now.
        accuracies: group -> (registered, now), each None where unknown.
        environment: what differs now -> (registered, now).
    """

    identical: bool
    artifacts: dict[str, bool]
    images: int
    changed: int
    accuracies: dict[str, tuple[float | None, float | None]]
    environment: dict[str, tuple[str, str]]


def compare(
    registered: Evaluation,
    now: Evaluation,
    *,
    environment: dict[str, str],
    environment_now: dict[str, str],
) -> Comparison:
    """Compare what was registered with what was made again, by the variant chosen then."""
    before, after = read_json(registered.report), read_json(now.report)
    chosen = before["chosen"]
    then, today = _predicted(registered, chosen), _predicted(now, chosen)
    same_images = len(then) == len(today)
    return Comparison(
        identical=file_digest(registered.predictions) == file_digest(now.predictions)
        and chosen == after["chosen"],
        artifacts={
            name: before["provenance"][name] == after["provenance"][name] for name in ARTIFACTS
        },
        images=len(then),
        changed=int((then != today).sum()) if same_images else len(then),
        accuracies=_accuracies(before, after),
        environment={
            name: (environment.get(name, "unknown"), environment_now.get(name, "unknown"))
            for name in sorted(environment.keys() | environment_now.keys())
            if environment.get(name) != environment_now.get(name)
        },
    )


def lines(found: Comparison) -> list[str]:
    """Return the comparison in words, one line each."""
    if found.identical:
        said = [f"identical: the predictions of all {found.images} test images, byte for byte"]
    else:
        said = [
            f"different: {found.changed} of {found.images} test images are predicted as another "
            "class now"
        ]
        apart = [name for name, same in found.artifacts.items() if not same]
        first = f"the first that differs is: {apart[0]}" if apart else "all artifacts are the same"
        said.append(f"in the order of the flow ({', '.join(found.artifacts)}), {first}")
        for group, (then, today) in found.accuracies.items():
            said.append(f"accuracy, {group}: {_percent(then)} registered, {_percent(today)} now")
    for name, (then_at, now_at) in found.environment.items():
        said.append(f"another environment, {name}: {then_at} registered, {now_at} now")
    return said


def _predicted(evaluation: Evaluation, variant: str) -> np.ndarray[Any, Any]:
    column = f"{variant}_prediction"
    return np.asarray(pq.read_table(evaluation.predictions, columns=[column]).column(column))


def _accuracies(
    before: dict[str, Any], after: dict[str, Any]
) -> dict[str, tuple[float | None, float | None]]:
    def groups(report: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = report["variants"][before["chosen"]].get("groups", {})
        return found

    then, today = groups(before), groups(after)
    return {name: (then[name]["accuracy"], today.get(name, {}).get("accuracy")) for name in then}


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.2f} %"
