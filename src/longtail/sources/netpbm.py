"""Arrays as uncompressed Netpbm files, whose bytes depend on no version of a compressor."""

import numpy as np
from numpy.typing import NDArray


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """Return the PGM file of grey `[H, W]` or the PPM file of RGB `[H, W, 3]` pixels."""
    kind = "P5" if pixels.ndim == 2 else "P6"
    height, width = pixels.shape[:2]
    return f"{kind}\n{width} {height}\n255\n".encode() + pixels.tobytes()
