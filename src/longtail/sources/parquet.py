"""Parquet files with encoded images and labels, as Hugging Face data sets are laid out."""

import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from longtail.config.ingest import ParquetSource
from longtail.errors import LongtailError, first_few
from longtail.sources.collection import Collection, Connect, Storage
from longtail.sources.rows import SPLITS, Row, collect_rows, reading

_ROWS = 128
# Without a buffer Arrow reads a column of a whole row group, which may be the whole file.
_BUFFER = 1 << 20


def wanted(source: ParquetSource) -> Callable[[str], bool]:
    """Return whether a path under the root is read; `*` in a glob crosses directories."""
    globs = list(source.files.values())
    return lambda path: path == source.classes_file or any(fnmatchcase(path, g) for g in globs)


def collect(source: ParquetSource, connect: Connect) -> Collection:
    """Return the rows by split (train, val, test, all), file name and row.

    A record is called `<file>#<row>`, its bytes are those in the image column.

    Raises:
        LongtailError: a glob without files, a file in two splits, a missing or unfit column, or
            labels that make no classes.
    """
    storage = connect(source.root)
    files = [(split, name, storage.local_file(name)) for split, name in _matches(source, storage)]
    for _, name, file in files:
        with reading(name):
            _check_columns(source, name, pq.read_schema(file))
    names = _class_names(source, storage)

    def rows(images: bool) -> Iterator[Row]:
        for split, name, file in files:
            with reading(name):
                yield from _rows(source, file, name=name, split=split, images=images)

    return collect_rows(
        rows,
        with_super_labels=source.super_label_column is not None,
        names=names.get(source.label_column),
        super_names=names.get(source.super_label_column or ""),
        text=False,
    )


def _matches(source: ParquetSource, storage: Storage) -> list[tuple[str | None, str]]:
    paths = [entry.path for entry in storage.entries()]
    matches: list[tuple[str | None, str]] = []
    for split in (*SPLITS, "all"):
        glob = source.files.get(split)  # type: ignore[call-overload]
        if glob is None:
            continue
        names = [path for path in paths if fnmatchcase(path, glob)]
        if not names:
            raise LongtailError(
                f"No file under {source.root} matches {glob} (ingest.source.files.{split}); "
                f"there are {first_few(paths) or 'none at all'}"
            )
        matches += [(None if split == "all" else split, name) for name in names]
    seen = [name for _, name in matches]
    twice = sorted({name for name in seen if seen.count(name) > 1})
    if twice:
        raise LongtailError(f"Two globs of ingest.source.files match {first_few(twice)}")
    return matches


def _check_columns(source: ParquetSource, name: str, schema: pa.Schema) -> None:
    columns = [source.image_column, source.label_column, source.super_label_column]
    for column in columns:
        if column is not None and column not in schema.names:
            raise LongtailError(
                f"Column {column} is not in {name}, which has {', '.join(schema.names)}. "
                "Set image_column, label_column and super_label_column of ingest.source"
            )
        if schema.names.count(column) > 1:
            raise LongtailError(f"{name} has two columns {column}; rename one")
    if _bytes_path(source, schema) is None:
        raise LongtailError(
            f"Column {source.image_column} of {name} is {schema.field(source.image_column).type}; "
            "needed are encoded images: binary, or a struct with a binary field `bytes`"
        )
    for column in columns[1:]:
        kind = schema.field(column).type if column is not None else pa.int64()
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_integer(kind) or _is_string(kind)):
            raise LongtailError(f"Column {column} of {name} is {kind}; labels are int or string")


def _bytes_path(source: ParquetSource, schema: pa.Schema) -> str | None:
    """Name the leaf column with the bytes, so that nothing else of a struct is read."""
    kind = schema.field(source.image_column).type
    if _is_binary(kind):
        return source.image_column
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{source.image_column}.bytes" if _is_binary(kind.field("bytes").type) else None
    return None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _class_names(source: ParquetSource, storage: Storage) -> dict[str, list[str]]:
    if source.classes_file is None:
        return {}
    file = storage.local_file(source.classes_file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LongtailError(f"{source.classes_file} is no JSON: {error}") from None
    columns = [c for c in (source.label_column, source.super_label_column) if c is not None]
    given = content if isinstance(content, dict) else {}
    named = [column for column in columns if column in given]
    if source.label_column not in named or not all(isinstance(given[c], list) for c in named):
        raise LongtailError(
            f"{source.classes_file} must be a JSON object with the key {source.label_column}: "
            "label column -> list of class names"
        )
    return {column: [str(name) for name in given[column]] for column in named}


def _rows(
    source: ParquetSource, file: Path, *, name: str, split: str | None, images: bool
) -> Iterator[Row]:
    with pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as parquet:
        image = _bytes_path(source, parquet.schema_arrow)
        labels = [source.label_column, source.super_label_column]
        columns = [c for c in [*labels, image if images else None] if c is not None]
        position = 0
        for batch in parquet.iter_batches(batch_size=_ROWS, columns=columns, use_threads=False):
            values = [_column(batch, column) for column in labels]
            data = _column(batch, source.image_column if images else None)
            for label, super_label, encoded in zip(*values, data, strict=True):
                yield Row(
                    f"{name}#{position}",
                    label,
                    super_label,
                    split,
                    data=encoded,
                    problem="no bytes in the row" if images and encoded is None else None,
                )
                position += 1


def _column(batch: pa.RecordBatch, name: str | None) -> list[Any]:
    if name is None:
        return [None] * batch.num_rows
    column = batch.column(name)
    if pa.types.is_struct(column.type):
        column = column.flatten()[0]  # with the nulls of the struct itself
    values: list[Any] = column.to_pylist()
    return values
