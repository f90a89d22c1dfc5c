"""A CSV or Parquet table of image paths and labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from longtail.config.ingest import ListingSource
from longtail.errors import LongtailError
from longtail.sources.collection import Collection, Connect
from longtail.sources.rows import Row, collect_rows, reading

_ROWS = 4096


def collect(source: ListingSource, connect: Connect) -> Collection:
    """Return the rows of the table in its order; the paths are relative to the root.

    A CSV file has a header line, is UTF-8, and an empty cell is a missing value. Labels of a CSV
    are integers if every one of them is written as one.

    Raises:
        LongtailError: an unknown kind of table, a missing column, a broken line, an unknown split,
            or labels that make no classes.
    """
    storage = connect(source.root)
    table = storage.local_file(source.table)
    is_csv = source.table.lower().endswith(".csv")
    if not is_csv and not source.table.lower().endswith(".parquet"):
        raise LongtailError(f"The table {source.table} is neither .csv nor .parquet")

    def rows(images: bool) -> Iterator[Row]:
        with reading(source.table):
            for batch in _csv_batches(source, table) if is_csv else _parquet_batches(source, table):
                yield from _rows(source, batch)

    return collect_rows(
        rows,
        with_super_labels=source.super_label_column is not None,
        names=None,
        super_names=None,
        text=is_csv,
        read=storage.read,
        concurrency=storage.concurrency,
    )


def _columns(source: ListingSource) -> list[str]:
    optional = (source.super_label_column, source.split_column)
    return [source.path_column, source.label_column, *(c for c in optional if c is not None)]


def _csv_batches(source: ListingSource, table: Path) -> Iterator[pa.RecordBatch]:
    text = {name: pa.string() for name in _columns(source)}
    with csv.open_csv(table, convert_options=csv.ConvertOptions(column_types=text)) as reader:
        _check_columns(source, reader.schema)
    convert = csv.ConvertOptions(
        column_types=text,
        include_columns=list(text),  # of others, a later value may be of another type
        strings_can_be_null=True,
        null_values=[""],  # `NA` may be the name of a class
    )
    with csv.open_csv(table, convert_options=convert) as reader:
        yield from reader


def _parquet_batches(source: ListingSource, table: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(table) as parquet:
        _check_columns(source, parquet.schema_arrow)
        yield from parquet.iter_batches(batch_size=_ROWS, columns=_columns(source))


def _check_columns(source: ListingSource, schema: pa.Schema) -> None:
    for column in _columns(source):
        if column not in schema.names:
            raise LongtailError(
                f"Column {column} is not in {source.table}, which has {', '.join(schema.names)}. "
                "Set the *_column names of ingest.source"
            )
        if schema.names.count(column) > 1:
            raise LongtailError(f"{source.table} has two columns {column}; rename one")


def _rows(source: ListingSource, batch: pa.RecordBatch) -> Iterator[Row]:
    def values(name: str | None) -> list[Any]:
        cells: list[Any] = [None] * batch.num_rows
        return cells if name is None else list(batch.column(name).to_pylist())

    for path, label, super_label, split in zip(
        values(source.path_column),
        values(source.label_column),
        values(source.super_label_column),
        values(source.split_column),
        strict=True,
    ):
        problem = None if path else "no path in the row"
        yield Row(str(path or ""), _label(label), _label(super_label), _text(split), None, problem)


def _label(value: object) -> int | str | None:
    if value is None or isinstance(value, (int, str)):
        return value
    raise LongtailError(f"The label {value!r} is {type(value).__name__}; labels are int or string")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
