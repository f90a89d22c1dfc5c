"""Sources that list image paths with labels: CSV or Parquet tables, and official split lists."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import pandas as pd

from longtail.config import ListingSource, SplitListsSource
from longtail.errors import LongtailError
from longtail.io.storage import Root
from longtail.sources.collection import (
    Collection,
    Item,
    Label,
    number_labels,
    number_super_labels,
)

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Row:
    """One listed image."""

    path: str
    label: Label
    super_label: Label | None
    split: str | None


def read_rows(
    rows: Sequence[Row], root: Root, *, where: str, names: Sequence[str] | None = None
) -> Collection:
    """Number the labels of listed images and stream their bytes in the order of the list."""
    classes, numbers = number_labels([row.label for row in rows], names=names, where=where)
    above: tuple[list[str], list[int]] = ([], [])
    if rows[0].super_label is not None:
        super_labels = [row.super_label for row in rows if row.super_label is not None]
        above = number_super_labels(super_labels, numbers, names=None, where=where)

    def items() -> Iterator[Item]:
        contents = root.read_many(row.path for row in rows)
        for row, number, content in zip(rows, numbers, contents, strict=True):
            yield Item(row.path, number, row.split, content)

    return Collection(classes, items(), len(rows), *above)


def read_listing(source: ListingSource, root: Root) -> Collection:
    """Read a CSV or Parquet table of paths and labels."""
    data = BytesIO(root.read(source.table))
    parquet = source.table.endswith(".parquet")
    frame = pd.read_parquet(data) if parquet else pd.read_csv(data)
    where = f"{source.root}/{source.table}"
    wanted = [source.path_column, source.label_column]
    wanted += [c for c in (source.super_label_column, source.split_column) if c is not None]
    columns = [_column(frame, name, where) for name in wanted]
    # An absent optional column is a column of None.
    optional = iter(columns[2:])
    none: list[None] = [None] * len(frame)
    super_labels = next(optional) if source.super_label_column else none
    splits = next(optional) if source.split_column else none
    rows = [Row(str(p), y, s, t) for p, y, s, t in zip(*columns[:2], super_labels, splits, strict=True)]
    for unknown in sorted({str(row.split) for row in rows} - {*SPLITS, "None"}):
        raise LongtailError(f"{where}: split {unknown!r} is none of {', '.join(SPLITS)}")
    return read_rows(rows, root, where=where)


def read_split_lists(source: SplitListsSource, root: Root) -> Collection:
    """Read `path label` text files, one a split, in the order train, val, test."""
    rows: list[Row] = []
    for split in SPLITS:
        if split in source.lists:
            rows += _lines(root, source.lists[split], split)
    names = None
    if source.classes_file is not None:
        names = root.read(source.classes_file).decode().split("\n")
        names = [name.strip() for name in names if name.strip()]
    return read_rows(rows, root, where=source.root, names=names)


def _lines(root: Root, file: str, split: str) -> list[Row]:
    rows = []
    for number, line in enumerate(root.read(file).decode().splitlines(), start=1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(" ")
        if not path or not label.lstrip("-").isdigit():
            raise LongtailError(f"{root.name}/{file}, line {number}: {line!r} is not `path label`")
        rows.append(Row(path, int(label), None, split))
    return rows


def _column(frame: pd.DataFrame, name: str, where: str) -> list[Label]:
    if name not in frame:
        raise LongtailError(
            f"{where} has no column {name!r}; it has {', '.join(map(str, frame.columns))}"
        )
    column = frame[name]
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax())
        raise LongtailError(f"{where}: column {name!r} is empty in row {row}; fill it in")
    return list(column.tolist())
