"""The candidate beside the champion, on the same test images."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from longtail.gating.paired import Paired, accuracies, stratified
from longtail.gating.predictions import Predictions, by_class
from longtail.gating.score import lower_end, upper_end
from longtail.report.content import members

SHOWN_CHANGES = 5  # classes that gained most, and that lost most


@dataclass(frozen=True)
class GroupChange:
    """Accuracies of both on one group's images; None where there are none.

    Attributes:
        change: candidate minus champion.
        change_interval: at the level of the report, as the gate would compute it for one group.
        only_candidate: images that only the candidate has right.
        only_champion: images that only the champion has right.
    """

    name: str
    candidate: float | None
    champion: float | None
    change: float | None
    change_interval: tuple[float, float] | None
    only_candidate: int
    only_champion: int


@dataclass(frozen=True)
class ClassChange:
    """Right answers of both on one class's images."""

    name: str
    group: str
    images: int
    candidate: int
    champion: int


@dataclass(frozen=True)
class Versus:
    """All groups, and the classes that changed most, by images."""

    groups: list[GroupChange]
    gained: list[ClassChange]
    lost: list[ClassChange]


def versus(report: dict[str, Any], candidate: Predictions, champion: Predictions) -> Versus:
    """Compare two models by their predictions on the same images.

    Args:
        report: content of the candidate's `report.json`, whose groups count.

    Raises:
        LongtailError: they are about other images, or the same with other labels.
    """
    classes = report["classes"]
    paired = by_class(candidate, champion, num_classes=len(classes))
    groups = [
        _group_change(name, paired.only(np.array(own, dtype=int)), report["confidence"])
        for name, own in members(classes, report["group_names"]).items()
    ]
    changed = _changed(classes, paired)
    return Versus(
        groups=groups,
        gained=[c for c in changed if c.candidate > c.champion][:SHOWN_CHANGES],
        lost=[c for c in changed[::-1] if c.candidate < c.champion][:SHOWN_CHANGES],
    )


def _group_change(name: str, paired: Paired, confidence: float) -> GroupChange:
    gains, losses = int(paired.gains.sum()), int(paired.losses.sum())
    if not paired.images.any():
        return GroupChange(name, None, None, None, None, gains, losses)
    candidate, champion = accuracies(paired, weighting="images")
    sample, tail = stratified(paired, weighting="images"), (1 - confidence) / 2
    interval = float(lower_end(sample, tail=tail)), float(upper_end(sample, tail=tail))
    return GroupChange(name, candidate, champion, candidate - champion, interval, gains, losses)


def _changed(classes: list[dict[str, Any]], paired: Paired) -> list[ClassChange]:
    """Classes from most gained to most lost share of their images, equal ones by label."""
    change = (paired.gains - paired.losses) / np.maximum(paired.images, 1)
    return [
        ClassChange(
            name=classes[label]["name"],
            group=classes[label]["group"],
            images=int(paired.images[label]),
            candidate=int(paired.both[label] + paired.gains[label]),
            champion=int(paired.both[label] + paired.losses[label]),
        )
        for label in np.argsort(-change, kind="stable")
    ]
