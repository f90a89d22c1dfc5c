"""Parquet files of encoded images and labels, the layout of Hugging Face data sets."""

import json
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from longtail.config import ParquetSource
from longtail.errors import LongtailError
from longtail.io.storage import Root
from longtail.sources.collection import Collection, Item, number_labels, number_super_labels

BATCH = 512  # rows read at a time


def read_parquet(source: ParquetSource, root: Root) -> Collection:
    """Read all files in the order train, val, test, all; within it by name, then by row."""
    files = _files(source, root)
    columns = [c for c in (source.label_column, source.super_label_column) if c is not None]
    labels = pa.concat_tables([_table(root, path, columns) for _, path in files])
    names = _names(source, root)
    where = source.root
    classes, numbers = number_labels(
        labels[source.label_column].to_pylist(), names=names.get(source.label_column), where=where
    )
    above: tuple[list[str], list[int]] = ([], [])
    if source.super_label_column is not None:
        above = number_super_labels(
            labels[source.super_label_column].to_pylist(),
            numbers,
            names=names.get(source.super_label_column),
            where=where,
        )
    return Collection(classes, _items(source, root, files, numbers), len(numbers), *above)


def _files(source: ParquetSource, root: Root) -> list[tuple[str, str]]:
    """Source split and path of every file."""
    present = [entry.path for entry in root.entries()]
    found = []
    for split in ("train", "val", "test", "all"):
        if split not in source.files:
            continue
        matching = [path for path in present if fnmatch(path, source.files[split])]
        if not matching:
            raise LongtailError(f"{source.root} has no file that matches {source.files[split]!r}")
        found += [(split, path) for path in matching]
    return found


def _table(root: Root, path: str, columns: list[str]) -> pa.Table:
    file = pq.ParquetFile(root.local_copy(path))
    for column in columns:
        if column not in file.schema_arrow.names:
            raise LongtailError(
                f"{root.name}/{path} has no column {column!r}; it has "
                f"{', '.join(file.schema_arrow.names)}"
            )
    return file.read(columns)


def _names(source: ParquetSource, root: Root) -> dict[str, list[str]]:
    if source.classes_file is None:
        return {}
    return dict(json.loads(root.read(source.classes_file)))


def _items(
    source: ParquetSource, root: Root, files: list[tuple[str, str]], numbers: list[int]
) -> Iterator[Item]:
    remaining = iter(numbers)
    for split, path in files:
        file = pq.ParquetFile(root.local_copy(path))
        row = 0
        for batch in file.iter_batches(BATCH, columns=[source.image_column]):
            for value in batch.column(0).to_pylist():
                label = split if split != "all" else None
                yield Item(f"{path}#{row}", next(remaining), label, _bytes(value))
                row += 1


def _bytes(value: Any) -> bytes | Exception:
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else ValueError("no image bytes in this row")
