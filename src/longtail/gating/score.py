"""Score intervals of paired differences, and claims that hold together."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from longtail.gating.paired import Floats, Sample

HALVINGS = 40  # of an interval of length 2: its ends are exact to 2e-12


def score(sample: Sample, *, difference: ArrayLike) -> Floats:
    """Return how many standard errors a sample is above a hypothetical difference `t`.

    `(g - l - n t) / sqrt(n (2 q + t (1 - t)))`, with `q` the likeliest probability of a loss if `t`
    is true. At `t = 0` it is the signed root of McNemar's statistic.

    Source: Tango, Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design (Statistics in Medicine 1998).
    """
    t, n = np.asarray(difference, dtype=np.float64), sample.images
    b = -(sample.gains + sample.losses) + (2 * n - sample.gains + sample.losses) * t
    root = np.sqrt(np.maximum(b**2 + 8 * n * sample.losses * t * (1 - t), 0))
    variance = n * ((root - b) / (2 * n) + t * (1 - t))
    distance = sample.gains - sample.losses - n * t
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / np.sqrt(np.maximum(variance, 0)))


def lower_end(sample: Sample, *, tail: ArrayLike) -> Floats:
    """Return the lower end of Tango's interval: the sample is `z` standard errors above it.

    It is inside -1..1, and without any disagreement it is `-z^2 / (n + z^2)`, not 0.

    Args:
        tail: probability that the truth lies below, one or one for every sample.
    """
    z = -ndtri(np.asarray(tail))
    high = np.broadcast_to(sample.difference, np.broadcast(sample.difference, z).shape).copy()
    low = np.full_like(high, -1.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        far = score(sample, difference=middle) > z
        low, high = np.where(far, middle, low), np.where(far, high, middle)
    return low


def upper_end(sample: Sample, *, tail: ArrayLike) -> Floats:
    """Return the other end: the lower one of the champion against the candidate, negated."""
    return -lower_end(Sample(sample.images, sample.losses, sample.gains), tail=tail)


def p_above(sample: Sample, *, difference: ArrayLike) -> Floats:
    """Return one-sided p-values of the claim that the truth is above `difference`."""
    return np.asarray(ndtr(-score(sample, difference=difference)))


def p_below(sample: Sample, *, difference: ArrayLike) -> Floats:
    """Return one-sided p-values of the claim that the truth is below `difference`."""
    return np.asarray(ndtr(score(sample, difference=difference)))


def holm_tails(p_values: ArrayLike, *, tail: float) -> Floats:
    """Return the tail at which each of `m` claims is judged, so that all hold together.

    The claim with the smallest p-value is held against `tail / m`, the next against
    `tail / (m - 1)` and so on; the first that fails ends it, and all that follow share its tail.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    p = np.atleast_1d(np.asarray(p_values, dtype=np.float64))
    order = np.argsort(p, kind="stable")
    steps = tail / np.arange(len(p), 0, -1)
    failed = np.flatnonzero(p[order] > steps)
    if failed.size:
        steps[failed[0] :] = steps[failed[0]]
    tails = np.empty_like(p)
    tails[order] = steps
    return tails


def surest_bound(images: float, *, tail: float) -> float:
    """Return how far below perfection `images` answers without any fault leave the lower end.

    `z^2 / (n + z^2)`: of Tango's interval without a disagreement below 0, and of Wilson's without
    an error below 1.
    """
    z = float(ndtri(tail))
    return z * z / (images + z * z)


def images_needed(distance: float, *, tail: float) -> int:
    """Return how many faultless answers bring the lower end within `distance` > 0 of perfection."""
    z = float(ndtri(tail))
    return int(np.ceil(z * z * (1 - distance) / distance))
