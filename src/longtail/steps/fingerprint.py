"""Write what identifies the source, so that `ingest` runs again exactly when it has changed."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from longtail.config.ingest import (
    DigitsSource,
    IngestConfig,
    ParquetSource,
    Source,
    TorchvisionSource,
)
from longtail.errors import LongtailError
from longtail.files import write_json
from longtail.imaging import BadImage
from longtail.io.storage import open_storage
from longtail.parallel import in_order
from longtail.sources import digits, parquet, torchvision
from longtail.sources.collection import Connect, Entry, Storage

CONTENT_LIMIT = 1 << 30


def fingerprint(config: IngestConfig, *, out: Path) -> None:
    """Write `out`, a JSON file: `source`, `entries`, `bytes`, `identified_by` and `digest`.

    The digest is the SHA-256 of all files' paths with what identifies their content:

    - `etag`: size and ETag, for a bucket;
    - `sha256`: the content, for local files of 1 GiB together at most. The same files have the
      same fingerprint on any machine;
    - `mtime`: size and time of the last change, for more than that, where reading everything
      would make each run slow. A copy with new times is ingested again, with the same result;
    - `constant`: the digits are part of scikit-learn.

    A source of one or few files (`parquet`, `torchvision`) is identified by these; any other by
    everything below its root, images that a listing does not name included.

    Raises:
        LongtailError: no such root, a torchvision set that is neither there nor to be had, or `out`
            would be part of the source.
    """
    require_outside(config.source, out)
    cache = out.with_name(f".{out.name}.download")  # stays empty: nothing is read from a bucket
    write_json(out, identify(config.source, partial(open_storage, s3=config.s3, cache=cache)))


def require_outside(source: Source, *written: Path) -> None:
    """Raise LongtailError if something that is written would be read as part of the source."""
    if isinstance(source, DigitsSource):
        return
    root, wanted = Path(source.root).resolve(), _wanted(source)
    for path in written:
        place = path.resolve()
        if place.is_relative_to(root) and wanted(place.relative_to(root).as_posix()):
            raise LongtailError(
                f"{path} is in {source.root}, where it would be read as part of the source; give "
                "the images a directory of their own, such as data/source/NAME, and set "
                "ingest.source.root, or the output a directory of its own elsewhere"
            )


def identify(source: Source, connect: Connect) -> dict[str, Any]:
    """Return the fingerprint of `source` as JSON, see `fingerprint`."""
    if isinstance(source, DigitsSource):
        return _content(source, digits.COUNT, 0, "constant", hashlib.sha256(b"digits").hexdigest())
    if isinstance(source, TorchvisionSource):
        torchvision.prepare(source)
    storage = connect(source.root)
    wanted = _wanted(source)

    def entries() -> Iterator[Entry]:
        return (entry for entry in storage.entries() if wanted(entry.path))

    by = "etag"
    if not storage.lasting_versions:
        by = "sha256" if sum(entry.size for entry in entries()) <= CONTENT_LIMIT else "mtime"
    versions = _by_content(storage, entries()) if by == "sha256" else _by_version(entries())
    count, size, digest = 0, 0, hashlib.sha256()
    for entry, version in versions:
        digest.update(entry.path.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(version.encode() + b"\0")
        count += 1
        size += entry.size
    if count == 0:
        raise LongtailError(f"{source.root} has no files for the source. Check ingest.source")
    return _content(source, count, size, by, digest.hexdigest())


def _content(source: Source, entries: int, size: int, by: str, digest: str) -> dict[str, Any]:
    return {
        "source": source.model_dump(mode="json"),
        "entries": entries,
        "bytes": size,
        "identified_by": by,
        "digest": digest,
    }


def _wanted(source: Source) -> Callable[[str], bool]:
    if isinstance(source, ParquetSource):
        return parquet.wanted(source)
    if isinstance(source, TorchvisionSource):
        return torchvision.wanted(source)
    return lambda path: True


def _by_version(entries: Iterator[Entry]) -> Iterator[tuple[Entry, str]]:
    return ((entry, entry.version) for entry in entries)


def _by_content(storage: Storage, entries: Iterator[Entry]) -> Iterator[tuple[Entry, str]]:
    def digest(path: str) -> str:
        if path.endswith("/"):
            return "empty directory"
        try:
            return hashlib.sha256(storage.read(path)).hexdigest()
        except BadImage as reason:
            return str(reason)

    with ThreadPoolExecutor(storage.concurrency) as readers:
        tasks = ((entry, entry.path) for entry in entries)
        yield from in_order(readers, digest, tasks, ahead=2 * storage.concurrency)
