"""Predictions of a model for the test images, in an order that depends only on the images."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longtail.errors import LongtailError
from longtail.gating.paired import Floats, Integers, Paired, pair


@dataclass(frozen=True)
class Predictions:
    """Predictions for `N` images, sorted by id and label; every array is `[N]`.

    Attributes:
        digest: SHA-256 of the ids and labels; equal if the test splits are the same.
        labels: true classes.
        predicted: classes of the largest logits.
        confidences: their softmax probabilities.
    """

    digest: str
    labels: Integers
    predicted: Integers
    confidences: Floats


def sorted_predictions(
    ids: Sequence[str], *, labels: Integers, predicted: Integers, confidences: Floats
) -> Predictions:
    """Bring predictions, whatever the order of their rows, into the one of ids and labels."""
    order = np.lexsort((labels, np.asarray(ids, dtype=str)))
    rows = (f"{ids[row]} {labels[row]}\n" for row in order)
    return Predictions(
        digest=hashlib.sha256("".join(rows).encode()).hexdigest(),
        labels=labels[order],
        predicted=predicted[order],
        confidences=confidences[order],
    )


def other_test_split(candidate: Predictions, champion: Predictions) -> str:
    """Say how two test splits differ, or nothing if they are the same."""
    if candidate.digest == champion.digest:
        return ""
    return (
        f"was evaluated on another test split ({len(champion.labels)} images, digest "
        f"{champion.digest[:8]}) than the candidate ({len(candidate.labels)} images, digest "
        f"{candidate.digest[:8]})"
    )


def by_class(candidate: Predictions, champion: Predictions, *, num_classes: int) -> Paired:
    """Pair two models' answers on the same images, by class.

    Raises:
        LongtailError: they are about other images, or the same with other labels.
    """
    return by_super_class(candidate, champion, super_of=np.arange(num_classes))


def by_super_class(candidate: Predictions, champion: Predictions, *, super_of: Integers) -> Paired:
    """Pair them by super-class: any class of the right super-class counts as right.

    Args:
        super_of: super-class of every class, `[C]`.

    Raises:
        LongtailError: as `by_class`.
    """
    difference = other_test_split(candidate, champion)
    if difference:
        raise LongtailError(f"the champion {difference}; evaluate both on one test split")
    labels = super_of[candidate.labels]
    return pair(
        _above(candidate, super_of) == labels,
        _above(champion, super_of) == labels,
        labels,
        num_classes=int(super_of.max()) + 1,
    )


def _above(model: Predictions, super_of: Integers) -> Integers:
    """Super-classes of the predictions; -1 for a class that only the champion knows."""
    known = model.predicted < len(super_of)
    return np.where(known, super_of[np.where(known, model.predicted, 0)], -1)
