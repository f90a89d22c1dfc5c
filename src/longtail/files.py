"""Outputs that appear whole or not at all, and digests of what was read."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtail.errors import LongtailError


def require_own_place(out: Path, *, kept: Iterable[Path]) -> None:
    """Refuse an `out` whose replacement would take what is `kept`, or the working directory, along.

    Raises:
        LongtailError: one of them is `out`, or in it.
    """
    place = out.resolve()
    for path in (Path.cwd(), *kept):
        if path.resolve().is_relative_to(place):
            raise LongtailError(
                f"{out} is replaced as a whole, and {path} would be lost with it; give the output "
                "a directory of its own"
            )


@contextmanager
def whole_directory(out: Path) -> Iterator[Path]:
    """Yield a directory beside `out` that replaces it only if the body succeeds."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)


@contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """Yield a path beside `out` that takes its name, replacing it, only if the body succeeds."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        yield partial
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as readable JSON with sorted keys; NaN and infinity are refused."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Parse the JSON file at `path`."""
    return json.loads(path.read_text(encoding="utf-8"))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(content: Any) -> str:
    """Return the SHA-256 of a JSON-like value, independent of key order, in hex."""
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
