"""Is one method better than another: by the same test images and, where there are some, over seeds.

Two things vary: which images were drawn for the test, and the seed that a network was trained with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Balanced accuracy of a method minus that of the reference.

    Attributes:
        p: two-sided p-value of no difference.
        seeds: that both were trained with; with one, the interval knows nothing of other seeds.
    """

    value: float
    interval: tuple[float, float]
    p: float
    seeds: int


def compare(
    ours: Bools, theirs: Bools, labels: NDArray[np.integer], *, confidence: float = 0.95
) -> Difference:
    """Compare two methods on the same test images, `[S, N]` right or wrong for the same seeds.

    The variance is that of a mean of class means of the differences averaged over seeds, images
    drawn class by class, plus the variance of the difference over seeds, divided by their number.
    The part of the seeds is in the first term too, image by image, so the interval is if anything
    too wide. Degrees of freedom are Welch and Satterthwaite's.

    Args:
        labels: `[N]`; classes without images do not count.
    """
    difference = ours.astype(np.float64) - theirs  # [S, N]
    classes, position = np.unique(labels, return_inverse=True)
    sizes = np.bincount(position)
    weights = 1 / (len(classes) * sizes[position])  # of an image, [N]
    by_seed = difference @ weights
    parts, freedoms = _class_variances(difference.mean(axis=0), position, sizes)
    seeds = len(by_seed)
    if seeds > 1:
        parts = np.append(parts, np.var(by_seed, ddof=1) / seeds)
        freedoms = np.append(freedoms, seeds - 1)
    variance = float(parts.sum())
    value = float(by_seed.mean())
    if variance == 0:  # every class answers alike: what they say of other images is not known
        return Difference(value, (value, value) if value == 0 else (-1.0, 1.0), 1.0, seeds)
    reference = t(variance**2 / float((parts**2 / freedoms).sum()))
    margin = float(reference.ppf((1 + confidence) / 2)) * variance**0.5
    p = float(2 * reference.sf(abs(value) / variance**0.5))
    return Difference(value, (value - margin, value + margin), p, seeds)


def _class_variances(
    values: Floats, position: NDArray[np.integer], sizes: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """What each class adds to the variance of the mean of class means, and degrees of freedom.

    Classes of one image have no variance of their own and are taken as one stratum, whose variance
    can only overstate theirs; a single such class is joined to the next smallest (collapsed strata,
    Cochran, Sampling Techniques, 1977, section 5A.12).
    """
    stratum = np.arange(len(sizes))
    single = sizes == 1
    if single.sum() == 1 and len(sizes) > 1:
        single[np.argsort(sizes, kind="stable")[1]] = True
    stratum[single] = np.argmax(single) if single.any() else 0
    images = np.bincount(stratum[position], minlength=len(sizes))
    means = np.bincount(stratum[position], values, minlength=len(sizes)) / np.maximum(images, 1)
    squares = np.bincount(
        stratum[position], (values - means[stratum[position]]) ** 2, minlength=len(sizes)
    )
    freedoms = np.maximum(images - 1, 1).astype(np.float64)
    own = (squares / freedoms)[stratum] / sizes / len(sizes) ** 2
    parts = np.bincount(stratum, own, minlength=len(sizes))
    kept = images > 0
    return np.asarray(parts[kept], dtype=np.float64), freedoms[kept]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values such that all of those below a level hold together (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    stepped = np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in adjusted]
