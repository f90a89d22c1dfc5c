"""What counts as an image, and that every kind of it ends as the same upright RGB picture."""

import contextlib
import io
import warnings
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps

from longtail.imaging import BadImage, decode, inspect, to_rgb, wrong_extension

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
MANY = 10**6


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "JPEG2000"])
def test_lossless_formats_give_the_exact_pixels(kind: str) -> None:
    data = encode(PICTURE, kind)
    assert np.array_equal(to_rgb(data), PIXELS)
    assert inspect(data, max_pixels=MANY).format == kind


def test_grey_becomes_three_equal_channels() -> None:
    grey = PIXELS[..., 0]
    data = encode(Image.fromarray(grey), "PNG")
    assert np.array_equal(to_rgb(data), np.stack([grey] * 3, axis=-1))
    assert inspect(data, max_pixels=MANY).mode == "L"


def test_palette_gives_the_colours_it_points_to() -> None:
    palette = PICTURE.quantize(16)
    data = encode(palette, "GIF")
    assert np.array_equal(to_rgb(data), palette.convert("RGB"))


def test_transparent_pixels_lie_over_white() -> None:
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 10:20], alpha[:, 20:] = 128, 255
    data = encode(Image.fromarray(np.dstack([PIXELS, alpha])), "PNG")
    share = alpha[..., None] / 255
    expected = share * PIXELS + (1 - share) * 255
    assert np.abs(np.asarray(to_rgb(data)) - expected).max() <= 1


def test_a_transparent_palette_colour_is_white() -> None:
    flat = Image.new("P", (2, 1), 0)
    flat.putpalette([255, 0, 0, 0, 0, 255])
    flat.putpixel((1, 0), 1)
    data = encode(flat, "PNG", transparency=0)
    assert np.asarray(to_rgb(data)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_sixteen_bits_are_scaled_not_cut() -> None:
    values = RNG.integers(0, 65536, (5, 7)).astype(np.uint16)
    values[0, :2] = 0, 65535
    png = encode(Image.fromarray(values), "PNG")
    pgm = b"P5 7 5 65535\n" + values.astype(">u2").tobytes()
    for data in (png, pgm):
        assert np.array_equal(np.asarray(to_rgb(data))[..., 0], np.round(values / 257))


def test_cmyk_jpeg_keeps_its_colours() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 40))
    data = encode(red.convert("CMYK"), "JPEG", quality=95)
    assert inspect(data, max_pixels=MANY).mode == "CMYK"
    assert np.abs(np.asarray(to_rgb(data), int) - (200, 30, 40)).max() <= 4


SEE_THROUGH = Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]]))
DEEP_GREY = Image.fromarray(RNG.integers(0, 65536, (20, 30)).astype(np.uint16))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        (PICTURE, "PNG"),
        (PICTURE, "TIFF"),
        (PICTURE.convert("CMYK"), "JPEG"),
        (PICTURE.quantize(16), "PNG"),
        (SEE_THROUGH, "PNG"),
        (SEE_THROUGH.convert("LA"), "PNG"),
        (SEE_THROUGH, "WEBP"),
        (DEEP_GREY, "PNG"),
    ],
    ids=["RGB", "TIFF", "CMYK", "palette", "RGBA", "LA", "RGBA WebP", "16 bits"],
)
def test_exif_orientation_is_undone(stored: Image.Image, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encode(stored, kind, exif=exif, **options)
    lying = to_rgb(encode(stored, kind, **options))
    lying.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(lying)
    facts = inspect(data, max_pixels=MANY)
    assert np.array_equal(to_rgb(data), upright)
    assert (
        (facts.width, facts.height) == upright.size == ((20, 30) if orientation > 4 else (30, 20))
    )


def test_the_hash_is_imagehash_of_the_picture_and_survives_reencoding() -> None:
    smooth = PICTURE.resize((200, 150), Image.Resampling.BICUBIC)
    lossless = inspect(encode(smooth, "PNG"), max_pixels=MANY).phash
    lossy = inspect(encode(smooth, "JPEG", quality=80), max_pixels=MANY).phash
    assert lossless == str(imagehash.phash(smooth))
    assert imagehash.hex_to_hash(lossless) - imagehash.hex_to_hash(lossy) <= 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_truncated_anywhere_is_refused(kind: str) -> None:
    data = encode(PICTURE, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on cut TIFF files
        for size in range(0, len(data) - 8, 7):
            with pytest.raises(BadImage):
                inspect(data[:size], max_pixels=MANY)


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.4", b"<svg></svg>", bytes(1000)])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage):
        inspect(data, max_pixels=MANY)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_more_than_one_frame_is_refused(kind: str) -> None:
    other = Image.fromarray(255 - PIXELS)
    with pytest.raises(BadImage, match="2 frames"):
        inspect(encode(PICTURE, kind, save_all=True, append_images=[other]), max_pixels=MANY)


def test_a_camera_picture_with_a_preview_is_one_picture() -> None:
    data = encode(PICTURE, "MPO", save_all=True, append_images=[PICTURE.resize((3, 2))])
    assert inspect(data, max_pixels=MANY).format == "MPO"
    assert wrong_extension("photo.JPG", "MPO") is None


def test_a_bomb_is_refused_by_its_header() -> None:
    huge = b"P5 60000 60000 255\n"  # claims 3.6 gigapixels and has none
    for limit in (10**8, 10**10):
        with pytest.raises(BadImage, match="pixels"):
            inspect(huge, max_pixels=limit)
    data = encode(PICTURE, "PNG")
    assert inspect(data, max_pixels=600)
    with pytest.raises(BadImage, match="30 x 20 is more than max_pixels = 599"):
        inspect(data, max_pixels=599)


def test_floats_without_a_range_are_refused() -> None:
    data = encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(BadImage, match="mode F"):
        inspect(data, max_pixels=MANY)


def test_decode_leaves_fitting_pictures_alone() -> None:
    square = PIXELS[:, :20]
    assert np.array_equal(decode(encode(Image.fromarray(square), "PNG"), size=20), square)


def test_decode_resizes_the_shorter_side_and_crops_the_centre() -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 255  # the middle third is what stays
    cropped = decode(encode(Image.fromarray(wide), "PNG"), size=20)
    assert cropped[:, 1:-1].min() == 255  # antialiasing mixes the edges


def test_an_extension_must_not_contradict_the_content() -> None:
    assert wrong_extension("a/b.JPEG", "JPEG") is None
    assert wrong_extension("a/b", "JPEG") is None
    assert wrong_extension("a/b.jpeg.0", "PNG") is None
    assert "PNG" in str(wrong_extension("a/b.jpg", "PNG"))


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_several_pages_cut_off_anywhere_are_at_worst_a_bad_image(kind: str) -> None:
    pages = [Image.fromarray(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(3)]
    data = encode(pages[0], kind, save_all=True, append_images=pages[1:])
    for length in range(len(data)):
        with contextlib.suppress(BadImage), warnings.catch_warnings(action="ignore"):
            inspect(data[:length], max_pixels=MANY)
