"""Sources that are tables: rows with a label each, read twice, first for the labels alone."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from longtail.errors import LongtailError, first_few
from longtail.sources.collection import Collection, Record
from longtail.sources.labels import Label, Numbering, classes_of, number_labels

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the table has it; `problem` says why it can be no image, `data` may be absent."""

    path: str
    label: Label | None
    super_label: Label | None = None
    split: str | None = None
    data: bytes | None = None
    problem: str | None = None


@contextmanager
def reading(table: str) -> Iterator[None]:
    """Turn what Arrow says of a broken table into an error that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise LongtailError(f"{table} cannot be read: {error}") from error


def collect_rows(
    rows: Callable[[bool], Iterator[Row]],
    *,
    with_super_labels: bool,
    names: Sequence[str] | None,
    super_names: Sequence[str] | None,
    text: bool,
    read: Callable[[str], bytes] | None = None,
    concurrency: int = 1,
) -> Collection:
    """Number the labels of `rows` and turn each row into a record.

    Args:
        rows: gives all rows in source order, with their image bytes only if its argument is true.
        with_super_labels: every class belongs to one super-class; a row without one is bad.
        names: class names in order, if stated.
        super_names: the same of the super-classes.
        text: labels are strings even where they are numbers.
        read: fetches the bytes of a row that has none, by its path.
        concurrency: how many of those to fetch at once.

    Raises:
        LongtailError: the labels make no classes (see `number_labels`), or an unknown split.
    """
    pairs: Counter[tuple[Label | None, Label | None]] = Counter()
    splits: Counter[str | None] = Counter()
    for row in rows(False):
        pairs[row.label, row.super_label] += 1
        splits[row.split] += 1
    _check_splits(splits)
    labelled = [(label, above) for label, above in pairs if label is not None]
    numbering = number_labels(
        (label for label, _ in labelled), names=names, what="label", text=text
    )
    supers = None
    if with_super_labels:
        above = (above for _, above in labelled if above is not None)
        supers = number_labels(above, names=super_names, what="super-label", text=text)

    def records() -> Iterator[Record]:
        return (_record(row, numbering, needs_super=with_super_labels) for row in rows(True))

    classes = classes_of(labelled, numbering, supers)
    return Collection(classes, pairs.total(), records, read=read, concurrency=concurrency)


def _record(row: Row, numbering: Numbering, *, needs_super: bool) -> Record:
    problem = row.problem
    if row.label is None:
        problem = problem or "no label"
    elif needs_super and row.super_label is None:
        problem = problem or "no super-label"
    label = None if row.label is None else numbering.number[row.label]
    return Record(row.path, label, split=row.split, data=row.data, problem=problem)


def _check_splits(splits: Counter[str | None]) -> None:
    unknown = sorted(split for split in splits if split is not None and split not in SPLITS)
    if unknown:
        raise LongtailError(
            f"Unknown splits in the split column: {first_few(unknown)}. Use {', '.join(SPLITS)}, "
            "or leave the cell empty"
        )
