"""Long-tail laws: how many images a class of each rank has, and how classes are grouped by that.

Ranks run from the head (0) to the tail (C - 1); `by_label` turns counts by rank into counts by label.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Law = Literal["exp", "step", "pareto"]
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
    """Return `n_max` for the first `C // 2` ranks and `floor(n_max / IF)` for the rest: int64 `[C]`.

    A single class has `n_max`. Source: Buda et al. 2018; Cao et al. 2019, section 4.
    """
    head = max(classes // 2, 1)
    tail = int(n_max * (1 / imbalance_factor))
    return np.array([n_max] * head + [tail] * (classes - head), dtype=np.int64)


def pareto_counts(classes: int, *, n_max: int, imbalance_factor: float, alpha: float) -> Counts:
    """Return Lomax (Pareto II) class sizes from `n_max` to exactly `floor(n_max / IF)`: int64 `[C]`.

    `n_i = n_min + floor((n_max - n_min) * g(u_i) / g(u_0))` with `g(u) = u ** (-1 / alpha) - 1` and
    class quantiles `u_i = (i + c) / (C - 1 + c)`, `c = 0.79`. With 1000 classes, 1280..5 images and
    `alpha = 6` this is `5 + floor(557 * (u ** (-1 / 6) - 1))`, which has 0.5 % fewer images than
    ImageNet-LT (Liu et al. 2019); a classical Pareto law with minimum 5 is far from it.
    """
    n_min = int(n_max * (1 / imbalance_factor))
    c = _PARETO_FIRST_QUANTILE
    g = [((i + c) / (classes - 1 + c)) ** (-1 / alpha) - 1 for i in range(classes)]
    span = n_max - n_min
    scaled = [span if i == 0 else int(span * (value / g[0])) for i, value in enumerate(g)]
    return np.array([n_min + extra for extra in scaled], dtype=np.int64)


def law_counts(
    law: Law,
    classes: int,
    *,
    n_max: int,
    imbalance_factor: float,
    pareto_alpha: float,
    lift_to_one: bool,
) -> Counts:
    """Return the counts by rank that `law` plans; `lift_to_one` makes them `max(1, n_i)`."""
    if law == "exp":
        counts = exponential_counts(classes, n_max=n_max, imbalance_factor=imbalance_factor)
    elif law == "step":
        counts = step_counts(classes, n_max=n_max, imbalance_factor=imbalance_factor)
    else:
        counts = pareto_counts(
            classes, n_max=n_max, imbalance_factor=imbalance_factor, alpha=pareto_alpha
        )
    return np.maximum(counts, 1) if lift_to_one else counts


def class_ranks(classes: int, *, seed: int | None) -> NDArray[np.int64]:
    """Return the rank of every label: label order without a seed, else a permutation: int64 `[C]`.

    The legacy generator is used because NumPy promises that its streams never change.
    """
    if seed is None:
        return np.arange(classes, dtype=np.int64)
    return np.random.RandomState(seed).permutation(classes).astype(np.int64)


def largest_supported(plan: Callable[[int], Counts], available: Counts) -> int:
    """Return the largest `n_max` with `plan(n_max) <= available` for every label; 0 if there is none.

    `plan` gives counts by label, and none of them may shrink when `n_max` grows.
    """
    low, high = 0, int(available.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        if np.all(plan(middle) <= available):
            low = middle
        else:
            high = middle - 1
    return low


def stratified_counts(totals: Counts, *, share: float) -> Counts:
    """Return `share` of each class, rounded half up: int64 `[C]`.

    A class of 3 images or more gives at least one (if `share > 0`), so that small classes are seen
    on every side.
    """
    rounded = np.floor(totals * share + 0.5).astype(np.int64)
    return np.maximum(rounded, (totals >= 3) & (share > 0))


def group_by_edges(counts: Counts, *, edges: Mapping[str, int]) -> list[str]:
    """Return the group of each label: the one with the largest edge that its count reaches.

    Raises ValueError if a count is below every edge.
    """
    falling = sorted(edges.items(), key=lambda item: -item[1])
    return [_reached(int(count), falling) for count in counts]


def group_by_thirds(counts: Counts) -> list[str]:
    """Return head, middle or tail for each label: `C // 3` each by falling count, larger tail.

    Equal counts keep label order; the borders are at `C * k // 3`, 33 / 33 / 34 for 100 classes.
    """
    classes = len(counts)
    rank = np.empty(classes, dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(classes)
    borders = [classes // 3, classes * 2 // 3]
    return [THIRDS[int(third)] for third in np.searchsorted(borders, rank, side="right")]


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


def _reached(count: int, falling: list[tuple[str, int]]) -> str:
    for name, edge in falling:
        if count >= edge:
            return name
    raise ValueError(f"count {count} is below every group edge {dict(falling)}")
