"""Which images a split takes: an order of preference within each class, and draws from it.

Training images are taken from the front of the order, test and validation images from its end, so
that training sets nest across imbalance factors and stay the same when another split grows.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]  # positions in the manifest
Mask = NDArray[np.bool_]  # one flag per manifest row


def cao_preference(labels: NDArray[np.int32], *, eligible: Mask, seed: int) -> Rows:
    """Return the place of each eligible row in the field's standard shuffle: int64 `[N]`.

    One legacy generator shuffles the rows of each class, given in file order, class after class in
    ascending order; with seed 0 the first `n_i` of each are the subset that Cao et al. 2019 and
    most papers since train on. Rows that are not eligible have place 0.
    """
    generator = np.random.RandomState(seed)
    rows = np.flatnonzero(eligible)
    rows = rows[np.argsort(labels[rows], kind="stable")]
    place = np.zeros(len(labels), dtype=np.int64)
    for of_class in np.split(rows, np.flatnonzero(np.diff(labels[rows])) + 1):
        generator.shuffle(of_class)
        place[of_class] = np.arange(len(of_class))
    return place


def hashed_preference(words: NDArray[np.uint64], *, seed: int) -> NDArray[np.uint64]:
    """Return a pseudo-random key per image that depends on its id and the seed only: uint64 `[N]`.

    `words` are 8 bytes of each image's SHA-256. The mixing is SplitMix64's finaliser (Steele et al.
    2014), a bijection, so that different words never share a key.
    """
    offset = np.array([seed], dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    return _mix(words ^ _mix(offset))


@dataclass
class Allotment:
    """Images of the manifest being given out; each is given at most once.

    `labels` int32 `[N]`; `copies` int `[N]` is equal for exact duplicates and different otherwise;
    `preference` orders the rows of a class, ties by position.
    """

    labels: NDArray[np.int32]
    copies: NDArray[np.int32]
    preference: NDArray[Any]
    classes: int
    free: Mask = field(init=False)
    dropped: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.free = np.ones(len(self.labels), dtype=np.bool_)
        self.dropped = np.zeros(len(self.labels), dtype=np.bool_)
        self._order = np.lexsort((self.preference, self.labels))

    def available(self, among: Mask) -> NDArray[np.int64]:
        """Return how many free images of `among` each class has: int64 `[C]`."""
        return np.bincount(self.labels[among & self.free], minlength=self.classes)

    def draw(self, counts: NDArray[np.int64], *, among: Mask, from_end: bool = False) -> Rows:
        """Take `counts` `[C]` free images of `among` per class; return their rows, ascending.

        `counts` must not exceed `available(among)`.
        """
        rows = self._order[(among & self.free)[self._order]]
        labels = self.labels[rows]
        sizes = np.bincount(labels, minlength=self.classes)
        rank = np.arange(len(rows)) - (np.cumsum(sizes) - sizes)[labels]
        taken = rank >= (sizes - counts)[labels] if from_end else rank < counts[labels]
        drawn = np.sort(rows[taken])
        self.free[drawn] = False
        return drawn

    def copies_of(self, rows: Rows) -> Mask:
        """Return which rows show the same image as one of `rows`, those included."""
        shown = np.zeros(int(self.copies.max(initial=-1)) + 1, dtype=np.bool_)
        shown[self.copies[rows]] = True
        return shown[self.copies]

    def drop_copies(self, rows: Rows) -> None:
        """Take the free images that are copies of `rows` out of the game."""
        gone = self.copies_of(rows) & self.free
        self.free[gone] = False
        self.dropped[gone] = True


def straddling(copies: NDArray[np.int32], parts: list[Rows]) -> NDArray[np.int32]:
    """Return the duplicate groups that have images in more than one of `parts`, ascending."""
    groups = np.concatenate([np.unique(copies[rows]) for rows in parts])
    values, parts_with = np.unique(groups, return_counts=True)
    return values[parts_with > 1]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
