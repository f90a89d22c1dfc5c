"""Read a source into shards of original bytes and a manifest, as a stream."""

import hashlib
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from longtail.artifacts import MANIFEST_SCHEMA, QUARANTINE_SCHEMA, SHARD_SCHEMA, Images
from longtail.config import IngestConfig
from longtail.errors import LongtailError, first_few
from longtail.files import read_json, whole_directory, write_json
from longtail.imaging import BadImage, ImageFacts, inspect, wrong_extension
from longtail.progress import progress
from longtail.sources import Collection, Item, open_collection
from longtail.steps.fingerprint import source_identity

LOOK_AHEAD = 256  # images read and inspected before the oldest is written
ROWS = 1024  # rows of one record batch and of one row group


def ingest(config: IngestConfig, *, source: Path, out: Path) -> None:
    """Write `Images`: every image's original bytes, its SHA-256 as id, and the facts about it.

    Bad images stop the step with one error after all have been looked at, or are listed in
    `quarantine.parquet`. What was downloaded from a bucket is kept beside `out` until the step has
    succeeded, so that an interrupted run does not fetch it again. Memory does not grow with the
    number of images, but for the list of labels.

    Raises:
        LongtailError: the source has changed since it was fingerprinted, has bad images, or a class
            has no good image.
    """
    if read_json(source) != source_identity(config):
        raise LongtailError(f"the source is not what {source} says; run `longtail fingerprint` again")
    cache = out.with_name(f".{out.name}.downloads")
    collection = open_collection(config, cache=cache)
    with whole_directory(out) as directory:
        writer = _Writer(Images(directory), collection, shard_bytes=config.shard_megabytes * 10**6)
        with progress(total=collection.size, what="ingest") as bar:
            for item, found in _inspected(collection.items, max_pixels=config.max_pixels):
                writer.add(item, found)
                bar.update()
        _refuse(writer, collection, config)
        writer.close()
    shutil.rmtree(cache, ignore_errors=True)


def _inspected(
    items: Iterable[Item], *, max_pixels: int
) -> Iterator[tuple[Item, ImageFacts | str]]:
    """Inspect on several threads, in order, at most `LOOK_AHEAD` images at a time."""
    pending: deque[tuple[Item, Future[ImageFacts | str]]] = deque()
    with ThreadPoolExecutor(thread_name_prefix="inspect") as pool:
        for item in items:
            pending.append((item, pool.submit(_facts, item, max_pixels)))
            if len(pending) >= LOOK_AHEAD:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()


def _facts(item: Item, max_pixels: int) -> ImageFacts | str:
    """What an image is, or why it is bad."""
    if isinstance(item.content, FileNotFoundError):
        return "the listed file is missing"
    if isinstance(item.content, Exception):
        return str(item.content)
    try:
        facts = inspect(item.content, max_pixels=max_pixels)
    except BadImage as bad:
        return str(bad)
    return wrong_extension(item.path, facts.format) or facts


@dataclass
class _Writer:
    """Appends images to shards and rows to the manifest, a batch at a time."""

    artifact: Images
    collection: Collection
    shard_bytes: int
    bad: list[dict[str, Any]] = field(default_factory=list)
    good: int = 0

    def __post_init__(self) -> None:
        self._manifest = pq.ParquetWriter(self.artifact.manifest, MANIFEST_SCHEMA)
        self._rows: list[dict[str, Any]] = []
        self._data: list[bytes] = []
        self._shard, self._row, self._size = 0, 0, 0
        self._counts = [0] * len(self.collection.classes)
        self._open_shard()

    def add(self, item: Item, found: ImageFacts | str) -> None:
        """Take one image, or the reason why it is bad."""
        name = self.collection.classes[item.label]
        if isinstance(found, str) or isinstance(item.content, Exception):
            self.bad.append({"source_path": item.path, "class_name": name, "reason": found})
            return
        if self._size + len(item.content) > self.shard_bytes and self._row:
            self._next_shard()
        self._rows.append(self._manifest_row(item, item.content, found))
        self._data.append(item.content)
        self._row += 1
        self._size += len(item.content)
        self._counts[item.label] += 1
        self.good += 1
        if len(self._rows) == ROWS:
            self._flush()

    def emptied(self) -> list[str]:
        """Classes that have no good image."""
        names = self.collection.classes
        return [name for name, count in zip(names, self._counts, strict=True) if not count]

    def close(self) -> None:
        """Write what is pending, the list of bad images and the class names."""
        self._flush()
        self._ipc.close()
        self._manifest.close()
        bad = pa.Table.from_pylist(self.bad, schema=QUARANTINE_SCHEMA)
        pq.write_table(bad, self.artifact.quarantine)
        write_json(
            self.artifact.classes,
            {
                "classes": self.collection.classes,
                "super_classes": self.collection.super_classes,
                "super_of": self.collection.super_of,
            },
        )

    def _manifest_row(self, item: Item, data: bytes, facts: ImageFacts) -> dict[str, Any]:
        collection = self.collection
        above = collection.super_of[item.label] if collection.super_of else None
        return {
            "index": self.good,
            "id": hashlib.sha256(data).hexdigest(),
            "shard": self._shard,
            "row": self._row,
            "label": item.label,
            "class_name": collection.classes[item.label],
            "super_label": above,
            "super_name": None if above is None else collection.super_classes[above],
            "width": facts.width,
            "height": facts.height,
            "mode": facts.mode,
            "format": facts.format,
            "bytes": len(data),
            "phash": facts.phash,
            "source_path": item.path,
            "source_split": item.split,
        }

    def _open_shard(self) -> None:
        self._ipc = pa.ipc.new_file(str(self.artifact.shard(self._shard)), SHARD_SCHEMA)

    def _next_shard(self) -> None:
        self._flush()
        self._ipc.close()
        self._shard, self._row, self._size = self._shard + 1, 0, 0
        self._open_shard()

    def _flush(self) -> None:
        if self._rows:
            self._manifest.write_table(pa.Table.from_pylist(self._rows, schema=MANIFEST_SCHEMA))
            data = pa.array(self._data, type=pa.binary())
            self._ipc.write_batch(pa.record_batch([data], schema=SHARD_SCHEMA))
        self._rows, self._data = [], []


def _refuse(writer: _Writer, collection: Collection, config: IngestConfig) -> None:
    if writer.bad and config.on_bad_image == "stop":
        shown = first_few([f"{bad['source_path']} ({bad['reason']})" for bad in writer.bad])
        raise LongtailError(
            f"{len(writer.bad)} of {collection.size} images are bad: {shown}; correct them, or set "
            "ingest.on_bad_image: quarantine to keep them out and list them"
        )
    if emptied := writer.emptied():
        raise LongtailError(
            f"{len(emptied)} classes have no good image: {first_few(emptied)}; correct their images "
            "or take the classes out of the source"
        )
