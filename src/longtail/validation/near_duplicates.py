"""Near-duplicates: images of different splits whose perceptual hashes differ by few bits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Links:
    """One example per pair of hashes that joins two splits: positions and distances, each `[L]`."""

    first: Positions
    second: Positions
    distance: NDArray[np.uint8]


def near_duplicates(
    hashes: NDArray[np.uint64],
    identity: NDArray[np.int64],
    split: NDArray[np.uint8],
    *,
    distance: int,
) -> Links:
    """Return one link per pair of hashes within `distance` bits that joins two splits.

    Args:
        hashes: 64-bit perceptual hash of each image `[N]`, sorted so that `split` ascends.
        identity: equal for images of equal bytes `[N]`; those alone are exact duplicates, no link.
        split: number of each image's split, 0..7 `[N]`.
        distance: bits that two hashes may differ by; 0 links equal hashes only.

    The pairs are of hashes, not of images, so a thousand blank images are one link. A link between
    different hashes implies different bytes; one between equal hashes needs two identities.
    """
    values, inverse = np.unique(hashes, return_inverse=True)
    last = np.zeros(len(values), dtype=np.int64)
    last[inverse] = np.arange(len(hashes))
    first = np.full(len(values), len(hashes), dtype=np.int64)
    np.minimum.at(first, inverse, np.arange(len(hashes)))
    a, b = pairs_within(values, distance=distance) if distance else (last[:0], last[:0])
    # The splits of a hash ascend from its first to its last image: equal at both ends is one split.
    different = split[np.minimum(first[a], first[b])] != split[np.maximum(last[a], last[b])]
    a, b = a[different], b[different]
    crossed = split[first[a]] == split[last[b]]
    left, right = np.where(crossed, last[a], first[a]), np.where(crossed, first[b], last[b])
    equal = _equal_across(inverse, identity, split[first] != split[last])
    return Links(
        first=np.concatenate([first[equal], left]),
        second=np.concatenate([last[equal], right]),
        distance=np.concatenate(
            [np.zeros(len(equal), np.uint8), np.bitwise_count(values[a] ^ values[b])]
        ),
    )


def pairs_within(values: NDArray[np.uint64], *, distance: int) -> tuple[Positions, Positions]:
    """Return the positions `i < j` of all pairs of distinct 64-bit values within `distance` bits.

    Of `distance + 1` bands of the bits, a pair within `distance` agrees in at least one, so only
    values with an equal band are compared: about `N^2 / 2^(64 / (distance + 1))` comparisons and
    memory for `N` values and the pairs found (multi-index hashing, Norouzi et al. 2012).
    """
    found: list[Positions] = [np.zeros((0, 2), dtype=np.int64)]
    for bits in np.array_split(np.arange(64, dtype=np.uint64), distance + 1):
        mask = np.bitwise_or.reduce(np.uint64(1) << bits, initial=np.uint64(0))
        band = values & mask
        order = np.argsort(band, kind="stable")
        band, ordered = band[order], values[order]
        start = np.arange(len(values))
        for offset in range(1, len(values)):
            start = start[start < len(values) - offset]
            start = start[band[start] == band[start + offset]]
            if len(start) == 0:
                break
            close = np.bitwise_count(ordered[start] ^ ordered[start + offset]) <= distance
            pair = np.stack([order[start[close]], order[start[close] + offset]], axis=1)
            found.append(np.sort(pair, axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _equal_across(
    inverse: NDArray[np.intp], identity: NDArray[np.int64], across: NDArray[np.bool_]
) -> Positions:
    """Positions among the unique hashes of those `across` splits that carry two identities."""
    low = np.full(len(across), np.iinfo(np.int64).max)
    high = np.full(len(across), -1, dtype=np.int64)
    np.minimum.at(low, inverse, identity)
    np.maximum.at(high, inverse, identity)
    return np.flatnonzero(across & (low != high))
