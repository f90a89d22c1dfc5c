"""A tracking database in a local file: where it lies, and how to open it one at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return the file of a `sqlite:///` URI, relative to the working directory; None for others."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return Path(tracking_uri.removeprefix("sqlite:///").partition("?")[0])


@contextmanager
def opening(tracking_uri: str) -> Iterator[None]:
    """Let one process at a time open a local database, which the first one creates.

    Several processes that find no tables would all create them, and all but one would fail. The
    lock is on the directory, so that no lock file is left behind.
    """
    database = sqlite_file(tracking_uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(database.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
