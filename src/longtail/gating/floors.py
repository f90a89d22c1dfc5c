"""A candidate's own numbers against fixed bounds."""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from longtail.gating.checks import Check, Interval, judge, too_small, unmeasured
from longtail.gating.predictions import Predictions
from longtail.metrics import (
    balanced_accuracy,
    balanced_accuracy_interval,
    calibration_bins,
    wilson_interval,
)


def floors(
    candidate: Predictions,
    *,
    groups: Sequence[str],
    min_balanced_accuracy: float | None,
    min_group_accuracy: Mapping[str, float],
    max_calibration_error: float | None,
    bins: int,
    confidence: float,
) -> list[Check]:
    """Compare balanced accuracy, accuracy of groups and calibration error with bounds.

    Args:
        groups: the group of every class, by label.
        min_balanced_accuracy: floor of the mean of the class accuracies; None: not checked.
        min_group_accuracy: group -> floor of the accuracy on its images.
        max_calibration_error: ceiling of the expected calibration error; None: not checked.
        bins: of the calibration error.
        confidence: level of the intervals.
    """
    correct = candidate.predicted == candidate.labels
    checks = []
    if min_balanced_accuracy is not None:
        checks.append(_balanced(candidate, len(groups), min_balanced_accuracy, confidence))
    group_of_image = np.asarray(groups)[candidate.labels]
    for group, floor in sorted(min_group_accuracy.items()):
        hits = correct[group_of_image == group]
        checks.append(_group(f"{group} accuracy", hits, floor, confidence))
    if max_calibration_error is not None:
        found = calibration_bins(candidate.confidences, correct, bins=bins)
        error, interval = calibration(found, confidence=confidence)
        what = "calibration error"
        checks.append(judge(what, error, interval, max_calibration_error, what=what, ceiling=True))
    return checks


def calibration(bins: Sequence[Mapping[str, Any]], *, confidence: float) -> tuple[float, Interval]:
    """Return the expected calibration error with an interval that is corrected for its bias.

    `E = sum_b n_b / N |a_b - c_b|`. Noise turns a gap of 0 into one above 0, so `E` is too large,
    by `sum_b n_b / N s_b sqrt(2 / pi)` at most, where every gap is noise; `s_b` is the standard
    error of the accuracy `a_b`, smoothed to `p_b = (x_b + 1/2) / (n_b + 1)`. The interval is
    `E - bias - z s` to `E + z s` with `s^2 = sum_b (n_b / N)^2 s_b^2`, inside 0..1: it covers at
    least its level.

    Args:
        bins: `{images, confidence, accuracy}` as in `longtail.metrics.calibration_bins`.
    """
    filled = [entry for entry in bins if entry["images"]]
    images = np.array([entry["images"] for entry in filled], dtype=np.float64)
    accuracy = np.array([entry["accuracy"] for entry in filled])
    gaps = np.abs(accuracy - np.array([entry["confidence"] for entry in filled]))
    smoothed = (accuracy * images + 0.5) / (images + 1)
    errors = np.sqrt(smoothed * (1 - smoothed) / images)
    weights = images / images.sum()
    error = float(weights @ gaps)
    bias = float(weights @ errors) * np.sqrt(2 / np.pi)
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * np.sqrt(float(weights**2 @ errors**2))
    return error, (float(max(0, error - bias - reach)), float(min(1, error + reach)))


def _balanced(candidate: Predictions, classes: int, floor: float, confidence: float) -> Check:
    right = candidate.labels[candidate.predicted == candidate.labels]
    images = np.bincount(candidate.labels, minlength=classes)
    correct = np.bincount(right, minlength=classes)
    value = balanced_accuracy(candidate.predicted, candidate.labels, num_classes=classes)
    interval = balanced_accuracy_interval(images, correct, confidence=confidence)
    return judge("balanced accuracy", value, interval, floor, what="balanced accuracy")


def _group(name: str, hits: Any, floor: float, confidence: float) -> Check:
    if not len(hits):
        return unmeasured(name, floor)
    value = float(hits.mean())
    interval = wilson_interval(value, len(hits), confidence=confidence)
    note = too_small(len(hits), 1 - floor, tail=(1 - confidence) / 2)
    return judge(name, value, interval, floor, what=name, note=note)
