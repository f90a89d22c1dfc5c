"""Long-tail laws: how many images each class has, and how classes are grouped by that number.

A law gives counts by rank, from the head (0) to the tail (C - 1); `TailLaw` gives them by label.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Scheme = Literal["many_medium_few", "thirds", "edges"]

MANY_MEDIUM_FEW = {"many": 101, "medium": 20, "few": 0}
THIRDS = ("head", "middle", "tail")

# Quantile of the largest class, in classes. With it 385 of ImageNet-LT's 1000 classes have more
# than 100 images, as the real ones do.
_PARETO_FIRST_QUANTILE = 0.79


def exponential_counts(classes: int, *, n_max: int, imbalance_factor: float) -> Counts:
    """Return `n_i = floor(n_max * f ** (i / (C - 1)))`, `f = 1 / imbalance_factor`: int64 `[C]`.

    The form of the power is the reference's: `exp(-i / (C - 1) * log(IF))` loses an image of the
    last class at IF 10 and 100. A count may be 0 (Cao et al. 2019, section 4; Cui et al. 2019).
    """
    f, last = 1 / imbalance_factor, max(classes - 1, 1)
    return np.array([int(n_max * f ** (i / last)) for i in range(classes)], dtype=np.int64)


def step_counts(classes: int, *, n_max: int, imbalance_factor: float) -> Counts:
    """Return `n_max` for the first `C // 2` ranks, `floor(n_max / IF)` for the rest: int64 `[C]`.

    A single class has `n_max`. Source: Buda et al. 2018; Cao et al. 2019, section 4.
    """
    head = max(classes // 2, 1)
    tail = math.floor(n_max / imbalance_factor)
    return np.array([n_max] * head + [tail] * (classes - head), dtype=np.int64)


def pareto_counts(classes: int, *, n_max: int, imbalance_factor: float, alpha: float) -> Counts:
    """Return Lomax (Pareto II) sizes from `n_max` down to exactly `floor(n_max / IF)`: int64 `[C]`.

    `n_i = n_min + floor((n_max - n_min) * g(u_i) / g(u_0))` with `g(u) = u ** (-1 / alpha) - 1` and
    class quantiles `u_i = (i + c) / (C - 1 + c)`, `c = 0.79`. With 1000 classes, 1280..5 images and
    `alpha = 6` this is `5 + floor(557 * (u ** (-1 / 6) - 1))`, which has 0.5 % fewer images than
    ImageNet-LT (Liu et al. 2019); a classical Pareto law with minimum 5 is far from it.
    """
    n_min = math.floor(n_max / imbalance_factor)
    c = _PARETO_FIRST_QUANTILE
    g = [((i + c) / (classes - 1 + c)) ** (-1 / alpha) - 1 for i in range(classes)]
    rest = [n_min + int((n_max - n_min) * (value / g[0])) for value in g[1:]]
    return np.array([n_max, *rest], dtype=np.int64)


def class_ranks(classes: int, *, seed: int | None) -> NDArray[np.int64]:
    """Return the rank of every label: label order without a seed, else a permutation: int64 `[C]`.

    The legacy generator is used because NumPy promises that its streams never change.
    """
    if seed is None:
        return np.arange(classes, dtype=np.int64)
    return np.random.RandomState(seed).permutation(classes).astype(np.int64)


@dataclass(frozen=True)
class TailLaw:
    """A law with everything fixed but its size: shape, imbalance factor and rank of each label.

    `lift_to_one` makes every count `max(1, n_i)`; `pareto_alpha` is read by `pareto` only.
    """

    shape: Literal["exp", "step", "pareto"]
    imbalance_factor: float
    ranks: NDArray[np.int64]
    pareto_alpha: float = 6.0
    lift_to_one: bool = False

    def counts(self, n_max: int) -> Counts:
        """Return the images that the law plans for each label if the head class has `n_max`."""
        by_rank = self._by_rank(n_max)
        return (np.maximum(by_rank, 1) if self.lift_to_one else by_rank)[self.ranks]

    def largest_n_max(self, available: Counts) -> int:
        """Return the largest `n_max` whose counts all fit `available` `[C]`; 0 if none does."""
        low, high = 0, int(available.max(initial=0))
        while low < high:  # no count shrinks when n_max grows
            middle = (low + high + 1) // 2
            if np.all(self.counts(middle) <= available):
                low = middle
            else:
                high = middle - 1
        return low

    def _by_rank(self, n_max: int) -> Counts:
        classes, factor = len(self.ranks), self.imbalance_factor
        if self.shape == "exp":
            return exponential_counts(classes, n_max=n_max, imbalance_factor=factor)
        if self.shape == "step":
            return step_counts(classes, n_max=n_max, imbalance_factor=factor)
        return pareto_counts(classes, n_max=n_max, imbalance_factor=factor, alpha=self.pareto_alpha)


def group_by_edges(counts: Counts, *, edges: Mapping[str, int]) -> list[str]:
    """Return the group of each label: the one with the largest edge that its count reaches.

    Raises ValueError if no edge is 0, because then a count could belong nowhere.
    """
    rising = sorted(edges, key=lambda name: edges[name])
    bounds = [edges[name] for name in rising]
    if not bounds or bounds[0] != 0:
        raise ValueError(f"one group edge must be 0, got {dict(edges)}")
    return [rising[int(place) - 1] for place in np.searchsorted(bounds, counts, side="right")]


def group_by_thirds(counts: Counts) -> list[str]:
    """Return head, middle or tail for each label by falling count; equal counts keep label order.

    The borders are at `C * k // 3`: 33 / 33 / 34 classes of 100.
    """
    classes = len(counts)
    place = np.empty(classes, dtype=np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(classes)
    borders = [classes // 3, classes * 2 // 3]
    return [THIRDS[int(third)] for third in np.searchsorted(borders, place, side="right")]


def group_classes(
    counts: Counts, *, scheme: Scheme, edges: Mapping[str, int]
) -> tuple[Sequence[str], list[str]]:
    """Return the group names, from most to least images, and the group of each label.

    `many_medium_few`: more than 100, 20..100, fewer than 20 training images (Liu et al. 2019).
    """
    if scheme == "thirds":
        return THIRDS, group_by_thirds(counts)
    chosen = MANY_MEDIUM_FEW if scheme == "many_medium_few" else edges
    return sorted(chosen, key=lambda name: -chosen[name]), group_by_edges(counts, edges=chosen)
