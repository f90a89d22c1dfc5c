"""Is one method better than another: by the same test images and, where there are some, over seeds.

Two things vary: which images were drawn for the test, and the seed that a network was trained with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Case = tuple[Bools, Bools, NDArray[np.integer]]  # ours, theirs, labels, as `compare` takes them
SMALLEST_P = 1e-30  # what is below counts as 0


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

    The variance of the images is that of a mean of class means of the differences averaged over
    seeds, images drawn class by class, with Welch and Satterthwaite's degrees of freedom; that of
    the seeds is the differences' over them, with `S - 1`. The margin is the root of the sum of
    squares of both margins (Howe, JASA 69, 1974), and p the level at which it reaches the
    difference. Degrees of freedom joined over both would be too confident of two or three seeds:
    their variance may well come out near 0. The part of the seeds is in that of the images too,
    image by image, so the interval is if anything too wide.

    Args:
        labels: `[N]`; classes without images do not count.
    """
    difference = ours.astype(np.float64) - theirs  # [S, N]
    classes, position = np.unique(labels, return_inverse=True)
    sizes = np.bincount(position)
    weights = 1 / (len(classes) * sizes[position])  # of an image, [N]
    by_seed = difference @ weights
    seeds = len(by_seed)
    value = float(by_seed.mean())
    parts, freedoms = _class_variances(difference.mean(axis=0), position, sizes)
    images = float(parts.sum())
    known = [(images, images**2 / float((parts**2 / freedoms).sum()))] if images else []
    if seeds > 1 and (spread := float(np.var(by_seed, ddof=1))):
        known.append((spread / seeds, seeds - 1.0))
    if not known:  # every class answers alike: what they say of other images is not known
        return Difference(value, (value, value) if value == 0 else (-1.0, 1.0), 1.0, seeds)
    variances, joint = np.array(known).T
    margin = _margin(1 - confidence, variances, joint)
    p = _p_value(abs(value), variances, joint)
    return Difference(value, (value - margin, value + margin), p, seeds)


def compare_together(cases: Sequence[Case]) -> list[Difference]:
    """Compare each case; the p-values below a level hold together (`holm`).

    Cells that share stage 1 share heads: a case that comes several times counts once, and a method
    against itself not at all.
    """
    keys = [tuple(array.tobytes() for array in case) for case in cases]
    found = {key: compare(*case) for key, case in zip(keys, cases, strict=True)}
    tested = [key for key in found if key[0] != key[1]]
    adjusted = dict(zip(tested, holm([found[key].p for key in tested]), strict=True))
    return [replace(found[key], p=adjusted.get(key, 1.0)) for key in keys]


def _margin(level: float, variances: Floats, freedoms: Floats) -> float:
    """What a sum of independent parts is beyond, on either side, with probability `level`."""
    return float(np.linalg.norm(stdtrit(freedoms, level / 2) * np.sqrt(variances)))


def _p_value(reached: float, variances: Floats, freedoms: Floats) -> float:
    """The level whose margin is `reached`."""

    def above(log_level: float) -> float:
        return _margin(float(np.exp(log_level)), variances, freedoms) - reached

    lowest = float(np.log(SMALLEST_P))
    if above(lowest) <= 0:
        return 0.0
    return 1.0 if above(0.0) >= 0 else float(np.exp(brentq(above, lowest, 0.0)))


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
