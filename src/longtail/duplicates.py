"""Image ids as numbers: words of the hash, groups of exact duplicates and their labels."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_HEX_DIGITS = 64
_NIBBLES = np.full(256, 255, dtype=np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16, dtype=np.uint8)


def id_words(ids: pa.StringArray) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each SHA-256 in lower-case hex as a number: uint64 `[N]`.

    Raises ValueError, naming the first offender, for an id that is not 64 characters of hex.
    """
    offsets = np.frombuffer(
        ids.buffers()[1], dtype=np.int32, count=len(ids) + 1, offset=4 * ids.offset
    )
    _refuse(ids, np.flatnonzero(np.diff(offsets) != _HEX_DIGITS))
    text = np.frombuffer(ids.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    nibbles = _NIBBLES[text.reshape(-1, _HEX_DIGITS)[:, :16]]  # [N, 16]
    _refuse(ids, np.flatnonzero((nibbles > 15).any(axis=1)))
    octets = (nibbles[:, 0::2] << 4) | nibbles[:, 1::2]  # [N, 8]
    return octets.view(">u8").ravel().astype(np.uint64)


def same_image(ids: pa.StringArray) -> NDArray[np.int32]:
    """Return a number per image, equal for equal ids, counted by first appearance: int32 `[N]`."""
    numbers: NDArray[np.int32] = ids.dictionary_encode().indices.to_numpy()
    return numbers


def conflicting_groups(copies: NDArray[np.int32], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the groups of `copies` that carry more than one label, ascending."""
    return np.unique(copies[labels != labels[first_of_group(copies)][copies]])


def first_of_group(copies: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the position of the first image of each group, by group number: int64 `[G]`."""
    return np.unique(copies, return_index=True)[1]


def duplicates_report(
    ids: pa.StringArray,
    index: NDArray[np.int64],
    labels: NDArray[np.int32],
    copies: NDArray[np.int32],
    *,
    dropped: NDArray[np.bool_],
    left: NDArray[np.int32],
) -> dict[str, Any]:
    """Return what `profile.json` says about exact duplicates.

    `groups` of images with the same id and how many of them have `conflicting_labels`; the index
    of every image that was `dropped` because a copy is in another split; and the ids of the groups
    that were `left_across_splits`.
    """
    return {
        "groups": int((np.bincount(copies) > 1).sum()),
        "conflicting_labels": len(conflicting_groups(copies, labels)),
        "dropped": index[dropped].tolist(),
        "left_across_splits": sorted(ids.take(pa.array(first_of_group(copies)[left])).to_pylist()),
    }


def _refuse(ids: pa.StringArray, wrong: NDArray[np.int64]) -> None:
    if len(wrong):
        raise ValueError(f"id {ids[int(wrong[0])].as_py()!r} is not a SHA-256 in hex")
