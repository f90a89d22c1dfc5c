"""What every source gives: classes with their numbers, and records in source order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from longtail.imaging import BadImage


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a storage, or an empty directory, whose path then ends with a slash.

    `version` changes whenever the content does: an ETag, or size and time of the last change.
    """

    path: str
    size: int
    version: str


class Storage(Protocol):
    """Files under a root; a path is relative to it and has forward slashes.

    `entries` yields every file, hidden ones too, in the order of the UTF-8 bytes of the paths.
    `read` raises `BadImage` if the file is missing or cannot be read as a file, or if the path
    leaves the root. `local_file` makes a file available under a local name, for tables.
    `lasting_versions` tells whether the versions are the same seen from any machine.
    """

    root: str
    lasting_versions: bool
    concurrency: int

    def entries(self) -> Iterator[Entry]: ...
    def read(self, path: str) -> bytes: ...
    def local_file(self, path: str) -> Path: ...


Connect = Callable[[str], Storage]


@dataclass(frozen=True)
class Classes:
    """Names by label; `super_of` gives each label's super-label, and is empty without them."""

    names: list[str]
    super_names: list[str]
    super_of: list[int]


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a source: its label, and the bytes unless they are to be read by `path`.

    `problem` says why the record can be no image of a class, whatever its bytes are.
    """

    path: str
    label: int | None
    split: str | None = None
    data: bytes | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Collection:
    """All of a source. `records` starts anew at each call; `read` fetches records without data."""

    classes: Classes
    total: int
    records: Callable[[], Iterator[Record]]
    read: Callable[[str], bytes] | None = None
    concurrency: int = 1


def check_relative(path: str) -> None:
    """Refuse a path that does not stay below its root, however it is spelled.

    Raises:
        BadImage: it does not.
    """
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise BadImage("the path leaves the root")


def printable(path: str) -> str:
    """Return the path with bytes that are no UTF-8 (surrogates in Python) as escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
