"""Progress bars for people: shown on a terminal only, so that logs stay clean."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(
    items: Iterable[Any] | None = None, *, total: int | None, what: str, unit: str = "images"
) -> "tqdm[Any]":
    """Return a tqdm bar with rate and ETA; silent when standard error is not a terminal."""
    return tqdm(
        items,
        total=total,
        desc=what,
        unit=f" {unit}",
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
        leave=False,
    )
