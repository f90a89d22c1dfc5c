"""Encoded image bytes to facts and pixels: the one place that decides what a readable image is."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# Pillow's other readers are left out: some run programs (EPS), none holds photographs.
EXTENSIONS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),  # cameras name multi-picture JPEGs .jpg
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"),
    "AVIF": (".avif",),
}
IMAGE_EXTENSIONS = frozenset(extension for group in EXTENSIONS.values() for extension in group)
_READERS = tuple(name for name in EXTENSIONS if name != "MPO")  # which the JPEG reader finds
# Pillow takes these two formats without their last bytes.
_END_MARKS = {"PNG": b"IEND", "JPEG2000": b"\xff\xd9"}


class BadImage(ValueError):
    """The bytes are no image that this package can learn from; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the manifest says of an image; sizes in pixels after EXIF rotation."""

    width: int
    height: int
    mode: str
    format: str
    phash: str


def inspect(data: bytes, *, max_pixels: int) -> ImageFacts:
    """Decode all of an image and describe it.

    `phash` is the 64-bit perceptual hash of Zauner, "Implementation and Benchmarking of Perceptual
    Image Hash Functions" (2010), sec. 3.2.1, as `imagehash.phash` computes it on the RGB picture:
    32x32 grey, two-dimensional DCT, the 8x8 lowest frequencies, bit = above their median.

    Raises:
        BadImage: empty, unreadable, truncated, animated, a mode without defined colours, or more
            than `max_pixels` pixels (refused from the header, before anything is decoded).
    """
    import imagehash

    image = _open(data)
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(f"{width} x {height} is more than max_pixels = {max_pixels} pixels")
    mode, name = image.mode, str(image.format)
    picture = _render(image)
    return ImageFacts(
        picture.width, picture.height, mode, name, str(imagehash.phash(picture, hash_size=8))
    )


def to_rgb(data: bytes) -> Image.Image:
    """Return the picture in 8-bit RGB, upright.

    EXIF rotation is applied, 16-bit values `v` become `round(v / 257)`, transparent pixels lie over
    white, CMYK is converted by Pillow's formula (no colour profile).

    Raises:
        BadImage: as `inspect`, with Pillow's own limit in place of `max_pixels`.
    """
    return _render(_open(data))


def decode(data: bytes, *, size: int) -> NDArray[np.uint8]:
    """Return the upright RGB pixels `[size, size, 3]` of an image, made square by `square`.

    Raises:
        BadImage: as `to_rgb`.
    """
    return square(to_rgb(data), size=size)


def square(picture: Image.Image, *, size: int) -> NDArray[np.uint8]:
    """Return the pixels `[size, size, 3]` of an RGB picture.

    One of another size is resized, with antialiasing, so that its shorter side is `size`, and
    cropped at the centre.
    """
    if picture.size != (size, size):
        picture = ImageOps.fit(picture, (size, size), method=Image.Resampling.BICUBIC)
    return np.asarray(picture)


def wrong_extension(path: str, name: str) -> str | None:
    """Return why the path's extension contradicts the format `name`, or None if it does not.

    A path without an extension, or with one that names no image format, claims nothing.
    """
    extension = PurePosixPath(path).suffix.lower()
    if extension not in IMAGE_EXTENSIONS or extension in EXTENSIONS[name]:
        return None
    return f"the name says {extension} but the content is {name}"


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BadImage("zero bytes")
    try:
        image = Image.open(BytesIO(data), formats=_READERS)
        if _END_MARKS.get(str(image.format), b"") not in data:
            raise BadImage("truncated: no end mark")
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("not an image in a known format") from None
    except Exception as error:  # readers raise nearly anything on broken bytes
        raise BadImage(f"unreadable: {error}") from error
    if frames > 1:
        raise BadImage(f"animated or multi-page: {frames} frames")
    return image


def _render(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        image.load()
        # Before `_flatten`: pictures put together anew have no EXIF.
        return _flatten(ImageOps.exif_transpose(image) if orientation != 1 else image)
    except BadImage:
        raise
    except Exception as error:  # decoders, too
        raise BadImage(f"truncated or broken: {error}") from error


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.mode in ("F", "LAB", "HSV"):
        raise BadImage(f"mode {image.mode} has no plain conversion to 8-bit RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadImage(f"mode {image.mode} with values outside of 0..65535 has no defined white")
    return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
