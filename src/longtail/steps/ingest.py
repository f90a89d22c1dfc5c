"""Read a source into shards of the original bytes and a manifest."""

import logging
import shutil
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from longtail.artifacts import Images
from longtail.config.ingest import DigitsSource, IngestConfig, Source
from longtail.errors import LongtailError, first_few
from longtail.files import read_json, require_apart, whole_directory, write_json
from longtail.image_check import Seen
from longtail.inspection import inspect_all
from longtail.io.image_files import ImagesWriter
from longtail.io.storage import open_storage
from longtail.progress import progress
from longtail.sources import collect
from longtail.sources.collection import Classes, Collection, Connect, Record, printable
from longtail.steps.fingerprint import identify, require_outside

_log = logging.getLogger(__name__)
_NAMED_OFFENDERS = 5


def ingest(config: IngestConfig, *, source: Path, out: Path) -> None:
    """Write the `Images` artifact of the source that `source` identifies.

    No image is changed or dropped silently: all are checked, and bad ones stop the step with one
    error, or are listed in the quarantine table (`on_bad_image`). Memory does not grow with the
    number of images. Files fetched from a bucket stay beside `out` until the step has succeeded, so
    that a killed step continues where it was.

    Args:
        source: the fingerprint that `fingerprint` wrote.

    Raises:
        LongtailError: the source is not what it was for `fingerprint`, has bad images, a class
            without an image, or labels that make no classes; or `out` is or contains its root, or
            would be part of it.
    """
    _keep_source(config.source, out)
    cache = out.with_name(f".{out.name}.download")
    # One storage for both passes: what the first lists, the second may take from the disk.
    connect = lru_cache(partial(open_storage, s3=config.s3, cache=cache))
    _check_unchanged(config, source, connect)
    collection = collect(config.source, connect)
    with whole_directory(out) as directory:
        images = Images(directory)
        _write(collection, images, config)
        write_json(images.classes, _describe(collection.classes))
    shutil.rmtree(cache, ignore_errors=True)


def _keep_source(source: Source, out: Path) -> None:
    if isinstance(source, DigitsSource):
        return
    require_apart(out, kept=[Path(source.root)])
    images = Images(out)
    require_outside(source, out, images.manifest, images.quarantine, images.classes)


def _check_unchanged(config: IngestConfig, source: Path, connect: Connect) -> None:
    """Compare the source with its fingerprint; listing it is also what confirms fetched objects."""
    expected = read_json(source)
    if not isinstance(expected, dict):
        raise LongtailError(f"{source} is no fingerprint; write one with `longtail fingerprint`")
    found = identify(config.source, connect)
    changed = [key for key, value in found.items() if expected.get(key) != value]
    if changed:
        raise LongtailError(
            f"The source is not the one in {source}: {', '.join(changed)} changed "
            f"({expected.get('entries')} entries then, {found['entries']} now). "
            "Run `longtail fingerprint` again"
        )


def _write(collection: Collection, images: Images, config: IngestConfig) -> None:
    names = collection.classes.names
    good = [0] * len(names)
    bad: list[str] = []
    bad_count = 0
    with ImagesWriter(images, shard_bytes=config.shard_megabytes * 1_000_000) as writer:
        for record, data, seen in _watched(collection, max_pixels=config.max_pixels):
            if isinstance(seen, str) or record.label is None:
                path, reason = printable(record.path), str(seen)
                writer.reject(path, None if record.label is None else names[record.label], reason)
                bad_count += 1
                if len(bad) < _NAMED_OFFENDERS:
                    bad.append(f"{path} ({reason})")
            else:
                writer.add(data, _manifest_row(record, record.label, seen, collection.classes))
                good[record.label] += 1
    if bad_count and config.on_bad_image == "stop":
        hidden = bad_count - len(bad)
        raise LongtailError(
            f"{bad_count} of {collection.total} images are bad: {'; '.join(bad)}"
            f"{f' and {hidden} more' if hidden else ''}. Repair or remove them, or set "
            "ingest.on_bad_image: quarantine"
        )
    _check_no_class_is_empty(names, good)
    if bad_count:
        _log.warning("%d of %d images are in quarantine", bad_count, collection.total)


def _watched(
    collection: Collection, *, max_pixels: int
) -> Iterator[tuple[Record, bytes, Seen | str]]:
    with progress(total=collection.total, what="ingest") as bar:
        for looked_at in inspect_all(collection, max_pixels=max_pixels):
            yield looked_at
            bar.update()


def _manifest_row(record: Record, label: int, seen: Seen, classes: Classes) -> dict[str, Any]:
    super_label = classes.super_of[label] if classes.super_of else None
    return {
        "id": seen.id,
        "label": label,
        "class_name": classes.names[label],
        "super_label": super_label,
        "super_name": None if super_label is None else classes.super_names[super_label],
        "width": seen.facts.width,
        "height": seen.facts.height,
        "mode": seen.facts.mode,
        "format": seen.facts.format,
        "phash": seen.facts.phash,
        "source_path": printable(record.path),
        "source_split": record.split,
    }


def _check_no_class_is_empty(names: list[str], good: list[int]) -> None:
    empty = [name for name, count in zip(names, good, strict=True) if count == 0]
    if empty:
        raise LongtailError(
            f"{len(empty)} of {len(names)} classes have only bad images: {first_few(empty)}. "
            "An empty class cannot be learned: repair the images, or take the class out"
        )


def _describe(classes: Classes) -> dict[str, Any]:
    return {
        "classes": classes.names,
        "super_classes": classes.super_names,
        "super_of": classes.super_of,
    }
