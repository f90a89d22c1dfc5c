"""Accuracy and its companions for all classes, a group of classes, or one class.

What has no images has no value: such metrics are None, never 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]
Interval = tuple[float, float]

FEW_TEST_IMAGES = 5  # with fewer, one image moves the accuracy of a class by 25 points or more
TOP = 5
GROUP_METRICS = (
    "accuracy",
    "accuracy_interval",
    "balanced_accuracy",
    "balanced_accuracy_interval",
    "macro_f1",
    "weighted_f1",
    "mcc",
    "cohen_kappa",
    "top5_accuracy",
    "calibration_error",
)


@dataclass(frozen=True)
class Outcome:
    """What one classifier said about `N` images; every array is `[N]`.

    Attributes:
        labels: true classes.
        predictions: class of the largest logit, the lower label if two are equal.
        confidences: its softmax probability.
        ranks: 0-based rank of the true class among the logits, ties as in `predictions`.
    """

    labels: IntArray
    predictions: IntArray
    confidences: NDArray[np.float64]
    ranks: IntArray

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the prediction is the label."""
        return np.equal(self.predictions, self.labels)

    def only(self, chosen: NDArray[np.bool_]) -> "Outcome":
        """Return the images where `chosen` `[N]` is true."""
        return Outcome(
            labels=self.labels[chosen],
            predictions=self.predictions[chosen],
            confidences=self.confidences[chosen],
            ranks=self.ranks[chosen],
        )


def outcome_of(logits: NDArray[np.floating[Any]], labels: IntArray) -> Outcome:
    """Reduce logits `[N, C]` to what the metrics need.

    Raises:
        ValueError: a logit is not finite, so that no ranking exists.
    """
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise ValueError(f"{broken} of {len(logits)} rows of logits are not finite")
    z = logits.astype(np.float64)
    own = np.take_along_axis(z, labels[:, None], axis=1)  # [N, 1]
    earlier = np.arange(z.shape[1]) < labels[:, None]  # [N, C]
    log_sum = np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1))
    return Outcome(
        labels=labels,
        predictions=z.argmax(axis=1),
        confidences=np.exp(-log_sum),
        ranks=((z > own) | ((z == own) & earlier)).sum(axis=1),
    )


def join_outcomes(parts: Sequence[Outcome]) -> Outcome:
    """Concatenate the outcomes of consecutive batches."""
    return Outcome(
        labels=np.concatenate([part.labels for part in parts]),
        predictions=np.concatenate([part.predictions for part in parts]),
        confidences=np.concatenate([part.confidences for part in parts]),
        ranks=np.concatenate([part.ranks for part in parts]),
    )


def balanced_accuracy(predictions: ArrayLike, labels: ArrayLike, *, num_classes: int) -> float:
    """Return the mean of the per-class accuracies over the classes that are present.

    `1/K sum_k x_k / n_k`, with `x_k` of the `n_k > 0` images of class `k` correct.

    Raises:
        ValueError: there are no images.
    """
    images, correct = _count(np.asarray(predictions), np.asarray(labels), num_classes)
    if not images.any():
        raise ValueError("balanced accuracy of no images is undefined")
    return float((correct[images > 0] / images[images > 0]).mean())


def val_scores(predictions: ArrayLike, labels: ArrayLike, *, num_classes: int) -> dict[str, float]:
    """Return `val_accuracy` and `val_balanced_accuracy` of predictions `[N]` on val.

    Raises:
        ValueError: there are no images.
    """
    balanced = balanced_accuracy(predictions, labels, num_classes=num_classes)
    accuracy = np.equal(np.asarray(predictions), np.asarray(labels)).mean()
    return {"val_accuracy": float(accuracy), "val_balanced_accuracy": balanced}


def wilson_interval(share: float, images: float, *, confidence: float) -> Interval:
    """Return Wilson's score interval of a binomial share.

    `(p + z^2/2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2/n)`: it stays inside 0..1, has a
    width at 0 and at 1, and holds its level for a handful of images.

    Source: Wilson, Probable Inference (JASA 1927); Brown, Cai, DasGupta (Stat. Sci. 2001).
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = share + z * z / (2 * images)
    reach = z * float(np.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2))
    scale = 1 + z * z / images
    # Rounding may leave an end a hair inside the share that it must contain at 0 and at 1.
    return min(share, (middle - reach) / scale), max(share, (middle + reach) / scale)


def balanced_accuracy_interval(
    images: IntArray, correct: IntArray, *, confidence: float
) -> Interval:
    """Return an interval of the mean of `K` independent per-class accuracies.

    The mean has the variance `V = 1/K^2 sum_k p_k (1 - p_k) / n_k`. A class with all or none of its
    few images correct would claim to have none, so `p_k = (x_k + 1/2) / (n_k + 1)` (Jeffreys)
    stands in for `x_k / n_k` in it. With `m` the mean of these `p_k`, a single binomial of
    `m (1 - m) / V` images has the variance `V`; the result is Wilson's interval of the balanced
    accuracy at that effective size. With one class, or equal ones, it is that of the pooled images.

    Args:
        images: `n_k`, `[K]`; classes without any are left out, but some have images.
        correct: `x_k`, `[K]`.

    Source: the effective sample size is that of Korn and Graubard, Survey Methodology 24 (1998).
    """
    images, correct = images[images > 0], correct[images > 0]
    smoothed = (correct + 0.5) / (images + 1)
    variance = float((smoothed * (1 - smoothed) / images).sum()) / len(images) ** 2
    middle = float(smoothed.mean())
    effective = middle * (1 - middle) / variance
    return wilson_interval(float((correct / images).mean()), effective, confidence=confidence)


def calibration_bins(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], *, bins: int
) -> list[dict[str, Any]]:
    """Return `{images, confidence, accuracy}` of equally wide confidence bins `((b-1)/B, b/B]`.

    Args:
        confidences: of the predictions, `[N]`. correct: whether they are the label, `[N]`.
    """
    place = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    confidence = np.bincount(place, weights=confidences, minlength=bins)
    right = np.bincount(place, weights=correct, minlength=bins)
    return [
        {
            "images": int(n),
            "confidence": float(total / n) if n else None,
            "accuracy": float(hits / n) if n else None,
        }
        for n, total, hits in zip(images, confidence, right, strict=True)
    ]


def calibration_error(outcome: Outcome, *, bins: int) -> float:
    """Return the expected calibration error `sum_b n_b / N |accuracy_b - confidence_b|`.

    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), section 2.
    """
    found = calibration_bins(outcome.confidences, outcome.correct, bins=bins)
    filled = [b for b in found if b["images"]]
    gaps = [b["images"] * abs(b["accuracy"] - b["confidence"]) for b in filled]
    return float(sum(gaps) / len(outcome.labels))


def class_metrics(outcome: Outcome, *, num_classes: int, confidence: float) -> list[dict[str, Any]]:
    """Return `{images, correct, accuracy, interval}` by label; None where a class has no images."""
    images, correct = _count(outcome.predictions, outcome.labels, num_classes)
    return [
        {
            "images": int(n),
            "correct": int(x),
            "accuracy": float(x / n) if n else None,
            "interval": wilson_interval(float(x / n), int(n), confidence=confidence) if n else None,
        }
        for n, x in zip(images, correct, strict=True)
    ]


def group_metrics(
    outcome: Outcome, classes: Sequence[int], *, num_classes: int, confidence: float, bins: int
) -> dict[str, Any]:
    """Return every metric of the images whose label is among `classes`.

    Predictions outside of the group count as errors. `accuracy` pools the images and its interval
    is Wilson's; `balanced_accuracy` is the mean over the group's classes that have images. F1 is
    taken class by class over *all* images, so that an image of another group drawn into a class
    costs that class precision, then averaged over the group's classes that have images. MCC and
    kappa are over the group's images and need two classes to exist; top-5 needs more than five.
    """
    group = outcome.only(np.isin(outcome.labels, classes))
    sizes = {"classes": len(classes), "images": len(group.labels)}
    if not len(group.labels):
        return sizes | dict.fromkeys(GROUP_METRICS)
    images, correct = _count(group.predictions, group.labels, num_classes)
    present = np.flatnonzero(images)
    share = float(group.correct.mean())
    return (
        sizes
        | {
            "accuracy": share,
            "accuracy_interval": wilson_interval(share, len(group.labels), confidence=confidence),
            "balanced_accuracy": float((correct[present] / images[present]).mean()),
            "balanced_accuracy_interval": balanced_accuracy_interval(
                images, correct, confidence=confidence
            ),
            "top5_accuracy": float((group.ranks < TOP).mean()) if num_classes > TOP else None,
            "calibration_error": calibration_error(group, bins=bins),
        }
        | _f1(outcome, present)
        | _agreement(group, images)
    )


def _f1(outcome: Outcome, present: IntArray) -> dict[str, float]:
    # Training imports this module for `val_scores` alone, where scikit-learn is not needed.
    from sklearn.metrics import f1_score

    return {
        f"{average}_f1": float(
            f1_score(outcome.labels, outcome.predictions, labels=present, average=average)
        )
        for average in ("macro", "weighted")
    }


def _agreement(group: Outcome, images: IntArray) -> dict[str, float | None]:
    """MCC and Cohen's kappa from the margins: scikit-learn fills a table of classes by classes."""
    if np.count_nonzero(images) < 2:
        return {"mcc": None, "cohen_kappa": None}
    true = images.astype(float)
    called = np.bincount(group.predictions, minlength=len(images)).astype(float)
    n, hits, chance = true.sum(), group.correct.sum(), true @ called
    spread = (n * n - true @ true) * (n * n - called @ called)
    return {
        # Of predictions that are all alike, 0, as the covariance is.
        "mcc": float((hits * n - chance) / math.sqrt(spread)) if spread else 0.0,
        "cohen_kappa": float((hits * n - chance) / (n * n - chance)),
    }


def _count(
    predictions: NDArray[Any], labels: NDArray[Any], num_classes: int
) -> tuple[IntArray, IntArray]:
    """Images and correct predictions by class, each `[C]`."""
    images = np.bincount(labels, minlength=num_classes)
    correct = np.bincount(labels[predictions == labels], minlength=num_classes)
    return images, correct
