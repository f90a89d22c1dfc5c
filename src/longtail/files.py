"""Outputs that appear whole or not at all, and digests of what was read."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from longtail.errors import LongtailError

SECONDS_TO_LOCK = 60


def require_apart(out: Path, *, kept: Iterable[Path] = ()) -> None:
    """Refuse an `out` whose replacement would delete other files.

    Raises:
        LongtailError: the working directory, or one of `kept`, is `out` or in it.
    """
    place = out.resolve()
    for path in (Path.cwd(), *kept):
        if path.resolve().is_relative_to(place):
            raise LongtailError(
                f"{out} is replaced as a whole, and {path} would be lost with it; give the output "
                "a directory of its own"
            )


def require_writable(out: Path) -> None:
    """Make the parent directory of `out`, or of its target if it is a link to a directory.

    Raises:
        LongtailError: that directory cannot be written, or `out` is a mount point.
    """
    if os.path.ismount(out.resolve()):
        raise LongtailError(
            f"{out} is a mount point, which nothing can take the place of; write into a directory "
            f"in it, such as {out / 'out'}"
        )
    around = (out.resolve() if out.is_dir() else out.absolute()).parent
    around.mkdir(parents=True, exist_ok=True)
    if not os.access(around, os.W_OK):
        raise LongtailError(
            f"{around} cannot be written; give this user the right to, or write {out.name} "
            "somewhere else"
        )


@contextmanager
def whole_directory(out: Path) -> Iterator[Path]:
    """Yield a directory beside `out` that replaces it only if the body succeeds.

    Every writer has its own directory; of several at once, the last to end wins. If `out` is a
    link, its target is replaced.

    Raises:
        LongtailError: `out` is a file, or the working directory is in it.
    """
    require_apart(out)
    place = out.resolve()
    if place.is_file():
        raise LongtailError(f"{out} is a file; remove it, or give the output another name")
    with _scratch(place) as scratch:
        partial = scratch / "new"
        partial.mkdir()
        yield partial
        _put(partial, place, aside=scratch)


def _put(new: Path, place: Path, *, aside: Path) -> None:
    while True:
        with suppress(FileNotFoundError):
            place.rename(aside / uuid.uuid4().hex)
        try:
            new.rename(place)
            return
        except OSError as error:  # somebody else may have just put theirs there
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


@contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """Yield a path beside `out` that takes its name, replacing it, only if the body succeeds.

    If `out` is a link, the link is replaced, since it may lead into DVC's cache.

    Raises:
        LongtailError: `out` is a directory.
    """
    if out.is_dir():
        raise LongtailError(f"{out} is a directory; give the name of a file, such as {out / 'out'}")
    with _scratch(out) as scratch:
        partial = scratch / f".{out.name}"
        yield partial
        flush_to_disk(partial)
        partial.replace(out)


def flush_to_disk(file: Path) -> None:
    """Wait until the disk has a file's content; renamed before that, a power cut would empty it."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """Yield a directory of this writer's own beside `out`; remove it, and those of killed writers.

    A scratch directory whose lock is free belongs to a killed writer; a very young one is kept,
    since its writer may not have locked it yet. Locks hold on one machine only, so two machines
    must not write the same output.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{glob.escape(out.name)}.*.partial"):
        with suppress(OSError), locked(left) as free:  # another user's may not be opened
            if free and time.time() - left.stat().st_mtime > SECONDS_TO_LOCK:
                shutil.rmtree(left, ignore_errors=True)
    made = tempfile.TemporaryDirectory(
        prefix=f".{out.name}.", suffix=".partial", dir=out.parent, ignore_cleanup_errors=True
    )
    with made as scratch, locked(Path(scratch)):
        yield Path(scratch)


@contextmanager
def locked(directory: Path, *, wait: bool = False) -> Iterator[bool]:
    """Lock a directory during the body; yield whether that succeeded.

    It does not if another process holds the lock, for which `wait` waits, or if the file system has
    no locks. The lock of a process that died is free, and no lock file is left behind.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield _lock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        return False
    return True


def write_json(path: Path, content: Any) -> None:
    """Write `content` as readable JSON with sorted keys; NaN and infinity are refused."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Parse the JSON file at `path`.

    Raises:
        LongtailError: it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of the text's encoding, too
        raise LongtailError(
            f"{path} is no JSON: {error}; run the step that writes it again"
        ) from error


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(content: Any) -> str:
    """Return the SHA-256 of a JSON-like value, independent of key order, in hex."""
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
