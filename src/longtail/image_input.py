"""Images as callers of a served model send them; travels with the model, as `predictor` says."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .imaging import BadImage, decode, square

Pixels = NDArray[np.uint8]


def model_pixels(image: Any, *, size: int) -> Pixels:
    """Return the pixels `[size, size, 3]` of one image as a model sees it.

    Args:
        image: encoded bytes, the same in base64, or whole numbers 0..255 `[H, W, 3]` (RGB).

    Raises:
        BadImage: it is none of these; the message is the reason.
    """
    if isinstance(image, str):
        try:
            image = base64.b64decode(image, validate=True)
        except ValueError:  # binascii.Error is one, and so are letters outside of ASCII
            raise BadImage("not base64") from None
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), size=size)
    return square(Image.fromarray(_whole_bytes(image)), size=size)


def try_pixels(image: Any, *, size: int) -> Pixels | str:
    """Return what `model_pixels` does, or the reason why it cannot."""
    try:
        return model_pixels(image, size=size)
    except BadImage as reason:
        return str(reason)


def _whole_bytes(image: Any) -> Pixels:
    try:
        values = np.asarray(image)
    except ValueError:
        raise BadImage("rows of pixels differ in length") from None
    if values.ndim != 3 or values.shape[2] != 3 or 0 in values.shape:
        raise BadImage(f"pixels are [height, width, 3], not {list(values.shape)}")
    if values.dtype.kind not in "ui" or values.min() < 0 or values.max() > 255:
        raise BadImage("pixels are whole numbers from 0 to 255")
    return np.ascontiguousarray(values, dtype=np.uint8)
