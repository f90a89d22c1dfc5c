"""scikit-learn's embedded handwritten digits."""

from collections.abc import Iterator

import numpy as np

from longtail.config.ingest import DigitsSource
from longtail.sources.collection import Classes, Collection, Connect, Record
from longtail.sources.netpbm import encode

COUNT = 1797
NAMES = [str(digit) for digit in range(10)]


def collect(source: DigitsSource, connect: Connect) -> Collection:
    """Return the digits in scikit-learn's order, their values 0..16 scaled to 0..255."""
    return Collection(Classes(NAMES, super_names=[], super_of=[]), COUNT, _records)


def _records() -> Iterator[Record]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)  # [N, 8, 8]
    for index, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        yield Record(f"digits/{index:04d}.pgm", int(label), data=encode(image))
