"""Image ids as numbers: words of the hash, groups of exact duplicates and their labels."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_HEX_DIGITS = 64
_NIBBLES = np.full(256, 255, dtype=np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16, dtype=np.uint8)


def id_words(ids: pa.StringArray) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each SHA-256 in lower-case hex as a number: uint64 `[N]`.

    Raises ValueError, naming the first offender, for an id that is not 64 hex digits.
    """
    offsets = np.frombuffer(ids.buffers()[1], dtype=np.int32)[ids.offset :][: len(ids) + 1]
    if len(ids) == 0:
        return np.zeros(0, dtype=np.uint64)
    lengths = np.diff(offsets)
    if np.any(lengths != _HEX_DIGITS):
        raise ValueError(f"{ids[int(np.argmax(lengths != _HEX_DIGITS))].as_py()!r}")
    text = np.frombuffer(ids.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    nibbles = _NIBBLES[text.reshape(-1, _HEX_DIGITS)[:, :16]]  # [N, 16]
    wrong = (nibbles > 15).any(axis=1)
    if wrong.any():
        raise ValueError(f"{ids[int(np.argmax(wrong))].as_py()!r}")
    octets = (nibbles[:, 0::2] << 4) | nibbles[:, 1::2]  # [N, 8]
    return octets.view(">u8").ravel().astype(np.uint64)


def same_image(ids: pa.StringArray) -> NDArray[np.int32]:
    """Return a number per image, equal for equal ids, counted by first appearance: int32 `[N]`."""
    numbers: NDArray[np.int32] = ids.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return numbers


def conflicting(copies: NDArray[np.int32], labels: NDArray[np.int32]) -> int:
    """Return how many groups of `copies` carry more than one label."""
    groups = int(copies.max(initial=-1)) + 1
    first = np.zeros(groups, dtype=labels.dtype)
    first[copies[::-1]] = labels[::-1]
    return len(np.unique(copies[labels != first[copies]]))
