"""Metrics of two levels: super-classes, and whether both levels agree."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]


def level_metrics(
    predictions: Labels,
    labels: Labels,
    *,
    super_of: Labels,
    super_predictions: Labels | None = None,
) -> dict[str, float | None]:
    """Measure predicted classes by the super-class that they belong to.

    Args:
        predictions, labels: classes, `[N]`. super_of: super-class of every class, `[C]`.
        super_predictions: what a head of its own says of the super-class, `[N]`, if there is one.

    Returns:
        `accuracy` and `macro_f1` over super-classes, and `consistency`: the share of images whose
        predicted class belongs to the super-class that its own head predicted, or None.
    """
    own = super_of[predictions]
    return {
        **super_metrics(own, super_of[labels]),
        "consistency": None
        if super_predictions is None
        else float((own == super_predictions).mean()),
    }


def super_metrics(predictions: Labels, labels: Labels) -> dict[str, float | None]:
    """Return `accuracy` and `macro_f1` of super-classes `[N]`; F1 over those that are present."""
    from sklearn.metrics import f1_score

    return {
        "accuracy": float((predictions == labels).mean()),
        "macro_f1": float(
            f1_score(
                labels, predictions, labels=np.unique(labels), average="macro", zero_division=0
            )
        ),
    }
