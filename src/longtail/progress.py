"""Progress for people: bars on a terminal, and lines, which are fewer, in a log."""

import logging
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


def tell_logs() -> None:
    """Without a terminal for bars, print what the package logs, such as a line an epoch."""
    if not sys.stderr.isatty():
        logging.basicConfig(format="%(message)s")
        logging.getLogger("longtail").setLevel(logging.INFO)
