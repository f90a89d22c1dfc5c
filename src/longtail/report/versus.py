"""The candidate beside the champion, on the same test images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from longtail.report.content import members

SHOWN_CHANGES = 5  # classes that gained most, and that lost most


@dataclass(frozen=True)
class GroupChange:
    """Accuracies of both on one group's images; None where there are none.

    Attributes:
        only_candidate: images that the candidate alone has right.
        only_champion: images that the champion alone has right.
    """

    name: str
    candidate: float | None
    champion: float | None
    images: int
    only_candidate: int
    only_champion: int

    @property
    def change(self) -> float | None:
        """Candidate minus champion."""
        if self.candidate is None or self.champion is None:
            return None
        return self.candidate - self.champion


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


def same_test_images(candidate: pd.DataFrame, champion: pd.DataFrame) -> bool:
    """Return whether two tables of predictions are about the same images with the same labels."""
    ours, theirs = (_ordered(table)[["id", "label"]] for table in (candidate, champion))
    return len(ours) == len(theirs) and bool((ours.to_numpy() == theirs.to_numpy()).all())


def versus(
    report: dict[str, Any],
    candidate: pd.DataFrame,
    champion: pd.DataFrame,
    *,
    champion_variant: str,
) -> Versus:
    """Compare two tables of predictions on the same images.

    Args:
        report: content of the candidate's `report.json`, whose groups count.
        champion_variant: the variant that the champion answers with.
    """
    ours, theirs = _ordered(candidate), _ordered(champion)
    labels = ours["label"].to_numpy()
    right = (ours[f"{report['chosen']}_prediction"] == ours["label"]).to_numpy()
    had = (theirs[f"{champion_variant}_prediction"] == theirs["label"]).to_numpy()
    classes = report["classes"]
    groups = [
        _group_change(name, np.isin(labels, own), right, had)
        for name, own in members(classes, report["group_names"]).items()
    ]
    counts = [np.bincount(labels[hits], minlength=len(classes)) for hits in (right, had)]
    changed = _changed(classes, labels, *counts)
    return Versus(
        groups=groups,
        gained=[c for c in changed if c.candidate > c.champion][:SHOWN_CHANGES],
        lost=[c for c in changed[::-1] if c.candidate < c.champion][:SHOWN_CHANGES],
    )


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(["id", "label"], kind="stable", ignore_index=True)


def _group_change(
    name: str, inside: NDArray[np.bool_], right: NDArray[np.bool_], had: NDArray[np.bool_]
) -> GroupChange:
    ours, theirs = right[inside], had[inside]
    return GroupChange(
        name=name,
        candidate=float(ours.mean()) if len(ours) else None,
        champion=float(theirs.mean()) if len(ours) else None,
        images=len(ours),
        only_candidate=int((ours & ~theirs).sum()),
        only_champion=int((theirs & ~ours).sum()),
    )


def _changed(
    classes: list[dict[str, Any]],
    labels: NDArray[np.int64],
    right: NDArray[np.int64],
    had: NDArray[np.int64],
) -> list[ClassChange]:
    """Classes from most gained to most lost share of their images, equal ones by label."""
    images = np.bincount(labels, minlength=len(classes))
    change = (right - had) / np.maximum(images, 1)
    return [
        ClassChange(
            classes[label]["name"],
            classes[label]["group"],
            int(images[label]),
            int(right[label]),
            int(had[label]),
        )
        for label in np.argsort(-change, kind="stable")
    ]
