"""A bounded cache on the disk of a node, shared by all processes and pods that mount it.

A shard has one sparse file of its own layout, with holes where nothing has been fetched. Bytes
from it are believed only with the right digest, and fetched again otherwise. So a hole, a write
that a power cut tore and a damaged disk are one case, which needs no record of what is there.
"""

import fcntl
import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from longtail.errors import LongtailError

DIRECTORY, MAX_BYTES = "LONGTAIL_SHARD_CACHE", "LONGTAIL_SHARD_CACHE_BYTES"
DEFAULT_MAX_BYTES = 50_000_000_000
_SUFFIX = ".shard"
# Reading on is as fast as another request: pieces so near are fetched with what is between them.
_GAP = 1 << 16
_RUN = 8 << 20  # longer runs are fetched in parts, at the same time
_PAGE = 1 << 12


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a shard, from `start`, and the SHA-256 in hex that they must have."""

    start: int
    size: int
    digest: str


class WrongDigest(Exception):
    """What was fetched is not what a piece says."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


Fetch = Callable[[list[range]], Iterable[bytes]]


def node_cache() -> "ShardCache":
    """Return the cache of this node, which the environment names.

    Raises:
        LongtailError: `LONGTAIL_SHARD_CACHE_BYTES` is no number.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    given = os.environ.get(MAX_BYTES) or str(DEFAULT_MAX_BYTES)
    if not given.isdecimal():
        raise LongtailError(
            f"{MAX_BYTES} is {given}; give a whole number of bytes, such as {DEFAULT_MAX_BYTES}"
        )
    directory = os.environ.get(DIRECTORY) or caches / "longtail" / "shards"
    return ShardCache(Path(directory), max_bytes=int(given))


class ShardCache:
    """Sparse files in `directory`, at most `max_bytes` together; the longest unread make room.

    A shard's file is read under a shared lock and filled under an exclusive one, so that of several
    processes that want the same bytes one fetches them. A locked file is not removed, and none is
    open for longer than a read: the room of a removed one would be counted by nobody.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        self.directory = directory
        self.max_bytes = max_bytes

    def read(self, shard: str, pieces: list[Piece], fetch: Fetch) -> list[bytes]:
        """Return pieces of a shard; `fetch` gives the bytes of the ranges that are missing.

        What does not fit into the cache is returned without being kept.

        Raises:
            WrongDigest: fetched bytes are not those of the piece with this number.
            LongtailError: the directory cannot be used.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with _locked(self._path(shard), fcntl.LOCK_SH) as file:
                found = _intact(file, pieces)
                if all(found):
                    os.utime(file)
                    return found
            with _locked(self._path(shard), fcntl.LOCK_EX) as file:
                return self._fill(file, pieces, fetch)
        except OSError as error:
            raise LongtailError(
                f"The shard cache {self.directory} cannot be used: {error}. Set {DIRECTORY} to a "
                f"writable local directory, and {MAX_BYTES} ({self.max_bytes}) to what fits there"
            ) from error

    def _path(self, shard: str) -> Path:
        return self.directory / f"{shard}{_SUFFIX}"

    def _fill(self, file: int, pieces: list[Piece], fetch: Fetch) -> list[bytes]:
        found = _intact(file, pieces)  # another process may have been faster
        missing = [number for number, data in enumerate(found) if not data]
        runs = _runs([pieces[number] for number in missing])
        fetched = list(fetch(runs))
        for number in missing:
            found[number] = _cut(runs, fetched, pieces[number])
            if not _is_intact(found[number], pieces[number]):
                raise WrongDigest(number)
        # Each run may fill two pages in part, and be an extent of its own for the file system.
        needed = sum(len(data) + 3 * _PAGE for data in fetched)
        # One process at a time counts, removes and writes; therefore the bound holds.
        with _locked(self.directory / ".lock", fcntl.LOCK_EX):
            if self._make_room(needed, own=file):
                for run, data in zip(runs, fetched, strict=True):
                    os.pwrite(file, data, run.start)
        return found

    def _make_room(self, needed: int, *, own: int) -> bool:
        """Remove files until `needed` bytes fit; at last, empty the one to be written."""
        room = self.max_bytes - needed
        if room < 0:
            return False
        files = [path for path in self.directory.iterdir() if path.suffix == _SUFFIX]
        stats = {path: path.stat() for path in files}
        used = sum(map(_occupied, stats.values()))
        for path in sorted(files, key=lambda path: stats[path].st_mtime_ns):
            if used > room and _remove(path):
                used -= _occupied(stats[path])
        if used > room:
            used -= _occupied(os.fstat(own))
            os.ftruncate(own, 0)
        return used <= room


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[int]:
    """Yield the descriptor of a locked file, not of one that was removed before it was locked."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, kind)
            if os.fstat(file).st_nlink:
                yield file
                return
        finally:
            os.close(file)


def _remove(path: Path) -> bool:
    """Remove a file of the cache, unless somebody reads or fills it."""
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def _occupied(stat: os.stat_result) -> int:
    return stat.st_blocks * 512


def _intact(file: int, pieces: list[Piece]) -> list[bytes]:
    """Return what the file has of each piece, nothing where that is not the piece."""
    read = ((os.pread(file, piece.size, piece.start), piece) for piece in pieces)
    return [data if _is_intact(data, piece) else b"" for data, piece in read]


def _is_intact(data: bytes, piece: Piece) -> bool:
    return hashlib.sha256(data).hexdigest() == piece.digest


def _runs(pieces: list[Piece]) -> list[range]:
    """Return the ranges to be fetched, in order, each with whole pieces."""
    runs: list[range] = []
    for piece in sorted(pieces, key=lambda piece: piece.start):
        stop = piece.start + piece.size
        if runs and piece.start - runs[-1].stop <= _GAP and stop - runs[-1].start <= _RUN:
            runs[-1] = range(runs[-1].start, max(stop, runs[-1].stop))
        else:
            runs.append(range(piece.start, stop))
    return runs


def _cut(runs: list[range], fetched: list[bytes], piece: Piece) -> bytes:
    run = bisect_right(runs, piece.start, key=lambda run: run.start) - 1
    at = piece.start - runs[run].start
    return fetched[run][at : at + piece.size]
