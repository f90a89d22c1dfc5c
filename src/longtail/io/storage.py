"""Files under a root, in a local directory or in a bucket."""

import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from longtail.config.ingest import S3Config
from longtail.errors import LongtailError
from longtail.imaging import BadImage
from longtail.sources.collection import Entry, Storage, check_relative


def open_storage(root: str, *, s3: S3Config, cache: Path) -> Storage:
    """Return the storage at a local directory or `s3://bucket/prefix`.

    `cache` is where objects are kept until the caller removes it, see `longtail.io.s3.S3Storage`.

    Raises:
        LongtailError: no such directory, another scheme, or a bucket that cannot be reached.
    """
    if root.startswith("s3://"):
        from longtail.io.s3 import S3Storage

        return S3Storage(root, config=s3, cache=cache)
    if "://" in root:
        raise LongtailError(f"Unknown kind of root: {root}. Use a local directory or s3://")
    return LocalStorage(root)


class LocalStorage:
    """Files of a local directory; links count as files and may not lead out of it."""

    lasting_versions = False
    concurrency = 8  # hides the latency of network file systems

    def __init__(self, root: str) -> None:
        self.root = root
        self._directory = os.path.realpath(root)
        if not os.path.isdir(self._directory):
            raise LongtailError(f"{root} is no directory. Set ingest.source.root")
        self._is_inside = lru_cache(maxsize=4096)(self._resolves_inside)

    def entries(self) -> Iterator[Entry]:
        """Yield all files in order, and directories that are empty with a slash at the end."""
        yield from self._walk("")

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            BadImage: missing, not a file, not readable, or outside of the root.
        """
        check_relative(path)
        full = os.path.join(self._directory, path)
        # Directories repeat, so that only links have to be resolved one by one.
        if not self._is_inside(os.path.dirname(full)) or (
            os.path.islink(full) and not self._resolves_inside(full)
        ):
            raise BadImage("a link in the path leaves the root")
        try:
            if stat.S_ISFIFO(os.stat(full).st_mode):  # nobody may ever write into it
                raise BadImage("a pipe")
            with open(full, "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise BadImage("missing") from None
        except OSError as error:
            raise BadImage(f"cannot be read: {error.strerror}") from error

    def local_file(self, path: str) -> Path:
        """Return where a table is.

        Raises:
            LongtailError: missing, or outside of the root, where no fingerprint sees it change.
        """
        file = Path(self.root) / path
        if not file.is_file():
            raise LongtailError(f"{file} is missing. Set the file names of ingest.source")
        if not self._resolves_inside(str(file)):
            raise LongtailError(f"{file} is outside of {self.root}: put it below the root")
        return file

    def _resolves_inside(self, full: str) -> bool:
        resolved = os.path.realpath(full)
        return resolved == self._directory or resolved.startswith(self._directory + os.sep)

    def _walk(self, directory: str) -> Iterator[Entry]:
        full = os.path.join(self._directory, directory)
        try:
            with os.scandir(full) as found:
                below = [
                    (e.name + "/" if e.is_dir(follow_symlinks=False) else e.name, e) for e in found
                ]
        except OSError as error:
            raise LongtailError(
                f"{full} cannot be read: {error.strerror}; give this user the right to, or move it "
                "out of the source"
            ) from None
        if directory and not below:
            yield Entry(directory, 0, "empty")
        # With the slash, walking gives the order of whole paths, in which a bucket is listed, too.
        for name, entry in sorted(below, key=lambda pair: os.fsencode(pair[0])):
            path = directory + name
            if name.endswith("/"):
                yield from self._walk(path)
            else:
                facts = _stat(entry)
                yield Entry(path, facts.st_size, f"{facts.st_size} {facts.st_mtime_ns}")


def _stat(entry: "os.DirEntry[str]") -> os.stat_result:
    try:
        return entry.stat()
    except OSError:  # a link to nowhere
        return entry.stat(follow_symlinks=False)
