"""Two classifiers on the same test images: gains, losses, and their combination over classes.

On one image a candidate can be right where the champion is wrong (a gain), wrong where it is right
(a loss), or agree with it; the difference is the mean of +1, -1 and 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Weighting = Literal["classes", "images"]


@dataclass(frozen=True)
class Paired:
    """Test images and disagreements of every class; each array is `[C]`.

    Attributes:
        images: test images.
        gains: those that only the candidate has right.
        losses: those that only the champion has right.
        both: those that both have right.
    """

    images: Integers
    gains: Integers
    losses: Integers
    both: Integers

    def only(self, chosen: NDArray[Any]) -> "Paired":
        """Return the classes that a mask or an index chooses."""
        return Paired(
            self.images[chosen], self.gains[chosen], self.losses[chosen], self.both[chosen]
        )


@dataclass(frozen=True)
class Sample:
    """One sample of paired answers, or an array of them; sizes need not be whole numbers."""

    images: Floats
    gains: Floats
    losses: Floats

    @property
    def difference(self) -> Floats:
        """Accuracy of the candidate minus that of the champion."""
        return np.asarray((self.gains - self.losses) / self.images)


def pair(
    right: NDArray[np.bool_], had: NDArray[np.bool_], labels: Integers, *, num_classes: int
) -> Paired:
    """Count gains and losses by class.

    Args:
        right, had: whether candidate and champion are right about each of the same images, `[N]`.
        labels: what to count by, `[N]`: the true class.
    """

    def count(chosen: NDArray[np.bool_]) -> Integers:
        return np.bincount(labels[chosen], minlength=num_classes)

    return Paired(
        images=np.bincount(labels, minlength=num_classes),
        gains=count(right & ~had),
        losses=count(had & ~right),
        both=count(right & had),
    )


def each_class(paired: Paired) -> Sample:
    """Return every class as a sample of its own, `[C]`; none may be empty."""
    return Sample(
        images=paired.images.astype(np.float64),
        gains=paired.gains.astype(np.float64),
        losses=paired.losses.astype(np.float64),
    )


def stratified(paired: Paired, *, weighting: Weighting) -> Sample:
    """Return one sample with the same shares of gains and losses and the variance of all classes.

    The difference is `D = sum_k w_k d_k` with `d_k` that of class `k`. Test images are drawn class
    by class, so its variance is `V = sum_k w_k^2 s_k^2 / n_k` with the unbiased variance `s_k^2` of
    the +1, 0, -1 within the class. A single sample with the same shares `g` of gains and `l` of
    losses has the variance `(g + l - (D^2 - V)) / n` (`D^2` is too large by `V` on average); `n` is
    chosen such that this equals `V`, but is at most `1 / sum_k w_k^2 / n_k`, the size for evenly
    spread disagreements: otherwise a handful of them that happen to be in large classes would imply
    that small classes have none. Classes of one image have no variance of their own and are taken
    as one stratum, which can only overstate it. A single class is returned as it is.

    Args:
        paired: classes without images are left out; one must have some.
        weighting: `classes` gives each class the same weight (balanced accuracy), `images` each
            image (accuracy).

    Raises:
        ValueError: there are no images.

    Source: effective sample size as in Korn and Graubard, Survey Methodology 24 (1998); collapsed
    strata as in Cochran, Sampling Techniques (1977), section 5A.12.
    """
    if not paired.images.any():
        raise ValueError("there are no images to compare on")
    present = each_class(paired.only(paired.images > 0))
    n = present.images
    w = _weights(n, weighting)
    gains, losses = w @ (present.gains / n), w @ (present.losses / n)
    spread = float(gains + losses - (gains - losses) ** 2)
    variance = float(w**2 @ (_variances(present) / n))
    alike = 1 / float(w**2 @ (1 / n))
    images = min(spread / variance + 1, alike) if variance > 0 else alike
    return Sample(*(np.asarray(images * share) for share in (1.0, gains, losses)))


def stacked(samples: Sequence[Sample]) -> Sample:
    """Return single samples as an array of them, `[K]`."""
    return Sample(
        images=np.array([float(one.images) for one in samples]),
        gains=np.array([float(one.gains) for one in samples]),
        losses=np.array([float(one.losses) for one in samples]),
    )


def accuracies(paired: Paired, *, weighting: Weighting) -> tuple[float, float]:
    """Return the accuracies of candidate and champion over the classes that have images."""
    present = paired.only(paired.images > 0)
    share = _weights(present.images, weighting) / present.images
    return (
        float(share @ (present.both + present.gains)),
        float(share @ (present.both + present.losses)),
    )


def _weights(images: NDArray[Any], weighting: Weighting) -> Floats:
    if weighting == "images":
        return np.asarray(images / images.sum())
    return np.full(len(images), 1 / len(images))


def _variances(present: Sample) -> Floats:
    """Variances within the classes, `[K]`; classes of one image share one."""
    n, d = present.images, present.gains - present.losses
    squares = present.gains + present.losses
    variances = (squares - d**2 / n) / np.maximum(n - 1, 1)
    single = n == 1
    if single.any() and len(n) > 1:
        joined = single.copy()
        if single.sum() == 1:
            joined[np.argsort(n, kind="stable")[1]] = True
        size = n[joined].sum()
        variances[single] = (squares[joined].sum() - d[joined].sum() ** 2 / size) / (size - 1)
    return variances
