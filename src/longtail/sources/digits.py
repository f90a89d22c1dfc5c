"""scikit-learn's handwritten digits, the embedded default."""

from collections.abc import Iterator

import numpy as np

from longtail.sources.collection import Collection, Item


def read_digits() -> Collection:
    """Return 1,797 grey images of 8x8 pixels as binary PGM: the same bytes with any zlib."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # [N, 8, 8], were 0..16

    def items() -> Iterator[Item]:
        for number, (image, label) in enumerate(zip(pixels, bunch.target, strict=True)):
            yield Item(f"{number:04d}.pgm", int(label), None, b"P5\n8 8\n255\n" + image.tobytes())

    return Collection([str(digit) for digit in range(10)], items(), len(pixels))
