"""Classes in order: by training images, by accuracy, and by what they are taken for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.metrics import IntArray, Outcome

SHOWN_CLASSES = 8  # of the best and of the worst


@dataclass(frozen=True)
class Confusion:
    """Which classes were called what, for the `P` pairs that occur: `C^2` would fill the memory.

    Attributes:
        true: label, `[P]`.
        predicted: label, `[P]`.
        images: how many, `[P]`.
    """

    true: IntArray
    predicted: IntArray
    images: IntArray

    def mistakes(self) -> "Confusion":
        """Return the pairs of different classes, most images first, then by label."""
        wrong = np.flatnonzero(self.true != self.predicted)
        order = wrong[np.lexsort((self.predicted[wrong], self.true[wrong], -self.images[wrong]))]
        return Confusion(self.true[order], self.predicted[order], self.images[order])


def confusion_of(outcome: Outcome, *, num_classes: int) -> Confusion:
    """Count the pairs of true and predicted class."""
    cells, images = np.unique(
        outcome.labels.astype(np.int64) * num_classes + outcome.predictions, return_counts=True
    )
    return Confusion(cells // num_classes, cells % num_classes, images)


def merged_confusion(confusion: Confusion, place: Sequence[int], *, cells: int) -> IntArray:
    """Return images by true and predicted cell, `[cells, cells]`.

    Args:
        place: label -> cell.
    """
    at = np.asarray(place)
    flat = at[confusion.true] * cells + at[confusion.predicted]
    counted = np.bincount(flat, weights=confusion.images, minlength=cells * cells)
    return counted.astype(np.int64).reshape(cells, cells)


def class_order(classes: Sequence[dict[str, Any]]) -> list[int]:
    """Return the labels from most to least training images, equal counts by label."""
    return sorted(range(len(classes)), key=lambda label: (-classes[label]["train"], label))


def ranked_labels(report: dict[str, Any]) -> list[int]:
    """Return the labels that have test images, least accurate by the chosen variant first.

    At equal accuracy the class with fewer training images comes first, then the lower label.
    """
    classes = report["classes"]
    per_class = report["variants"][report["chosen"]]["per_class"]
    return sorted(
        (label for label in range(len(classes)) if per_class[label]["images"]),
        key=lambda label: (per_class[label]["accuracy"], classes[label]["train"], label),
    )


def extremes(report: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Return the least and the most accurate labels; no label is in both, unless it is the only."""
    ranked = ranked_labels(report)
    shown = min(SHOWN_CLASSES, max(1, len(ranked) // 2))
    return ranked[:shown], ranked[::-1][:shown]


def taken_for(confusion: Confusion) -> dict[int, tuple[int, int]]:
    """Return label -> the class it is most often taken for, and for how many images."""
    most: dict[int, tuple[int, int]] = {}
    wrong = confusion.mistakes()
    for true, predicted, images in zip(wrong.true, wrong.predicted, wrong.images, strict=True):
        most.setdefault(int(true), (int(predicted), int(images)))
    return most


def running_mean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over a tenth of the values around each, fewer at the ends."""
    reach = len(values) // 20
    padded = np.concatenate([[0.0], np.cumsum(values)])
    start = np.maximum(np.arange(len(values)) - reach, 0)
    stop = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    mean: NDArray[np.float64] = (padded[stop] - padded[start]) / (stop - start)
    return mean
