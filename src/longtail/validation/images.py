"""Checks of the pictures themselves, on a sample: do they decode, and what CleanVision sees."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager
from numpy.typing import NDArray
from PIL import Image

from longtail.imaging import BadImage, to_rgb
from longtail.progress import progress

ISSUES = ("dark", "light", "odd_aspect_ratio", "low_information", "blurry", "grayscale", "odd_size")
# From this share of the sample on, an issue is what the collection is like (CleanVision's
# report leaves such an issue out, too).
TYPICAL_SHARE = 0.5
_LONGEST_SIDE = 512


def sample_positions(total: int, *, size: int, seed: int) -> NDArray[np.int64]:
    """Return `min(size, total)` distinct positions below `total`, ascending."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(total, size=min(size, total), replace=False)).astype(np.int64)


def inspect_sample(read: Callable[[int], bytes], ids: Sequence[str]) -> pd.DataFrame:
    """Return one row per image of the sample.

    Args:
        read: gives the encoded bytes at a position of the sample; called from several threads.
        ids: SHA-256 in hex that each image's bytes must have.

    Returns:
        `decodes` ("yes" or the reason why not), `bytes_match_id`, and one bool per name in
        `ISSUES`, false where the image does not decode.
    """
    manager = ImagePropertyIssueManager()

    def look(position: int) -> dict[str, Any]:
        data = read(position)
        facts = {"bytes_match_id": hashlib.sha256(data).hexdigest() == ids[position]}
        try:
            image = to_rgb(data)
        except BadImage as reason:
            return {**facts, "decodes": str(reason)}
        return {**facts, "decodes": "yes", **_properties(image, manager.image_properties)}

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        looks = pool.map(look, range(len(ids)))
        seen = pd.DataFrame(list(progress(looks, total=len(ids), what="image checks")))
    if len(seen) == 0:
        seen = pd.DataFrame({"bytes_match_id": np.zeros(0, bool), "decodes": np.zeros(0, str)})
    flags = pd.DataFrame(False, index=seen.index, columns=list(ISSUES))
    decoded = seen[seen["decodes"] == "yes"]
    if len(decoded):
        manager.issues = pd.DataFrame(index=decoded.index)
        manager.update_issues(decoded, list(ISSUES))
        for issue in ISSUES:
            flags.loc[decoded.index, issue] = manager.issues[f"is_{issue}_issue"].astype(bool)
    return pd.concat([seen[["decodes", "bytes_match_id"]], flags], axis=1)


def typical_issues(sample: pd.DataFrame) -> list[str]:
    """Return the issues that at least half of the sample has: traits, not faults of an image."""
    return [issue for issue in ISSUES if len(sample) and sample[issue].mean() >= TYPICAL_SHARE]


def _properties(image: Image.Image, properties: dict[str, Any]) -> dict[str, Any]:
    """CleanVision's raw numbers; those about colour and light from a copy of at most 512 pixels."""
    values = {**properties["odd_size"].calculate(image)}
    values |= properties["odd_aspect_ratio"].calculate(image)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    image = _grey_if_grey(image)
    # `light` needs the same numbers as `dark`.
    for issue in ("dark", "low_information", "blurry", "grayscale"):
        values |= properties[issue].calculate(image)
    return values


def _grey_if_grey(image: Image.Image) -> Image.Image:
    """CleanVision knows grey by the mode: a grey picture stored as RGB counts as grey, too."""
    red, green, blue = image.split()
    grey = red.tobytes() == green.tobytes() == blue.tobytes()
    return red if grey else image
