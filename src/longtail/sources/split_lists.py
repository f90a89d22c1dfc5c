"""The official text files of ImageNet-LT, Places-LT and iNaturalist: one `path label` a line."""

from collections.abc import Iterator
from pathlib import Path

from longtail.config.ingest import SplitListsSource
from longtail.errors import LongtailError
from longtail.sources.collection import Collection, Connect
from longtail.sources.rows import SPLITS, Row, collect_rows


def collect(source: SplitListsSource, connect: Connect) -> Collection:
    """Return the lines of the lists of train, val and test, in this order.

    A path may have spaces in it; the label is what follows the last one.

    Raises:
        LongtailError: a line without a label, or labels that make no classes.
    """
    storage = connect(source.root)
    lists = [
        (split, source.lists[split], storage.local_file(source.lists[split]))
        for split in SPLITS
        if split in source.lists
    ]
    names = None
    if source.classes_file is not None:
        names = [name for _, name in _lines(storage.local_file(source.classes_file))]

    def rows(images: bool) -> Iterator[Row]:
        for split, name, file in lists:
            yield from _rows(file, name=name, split=split)

    return collect_rows(
        rows,
        with_super_labels=False,
        names=names,
        super_names=None,
        text=True,
        read=storage.read,
        concurrency=storage.concurrency,
    )


def _rows(file: Path, *, name: str, split: str) -> Iterator[Row]:
    for number, line in _lines(file):
        path, _, label = line.rpartition(" ")
        if not path or not label:
            raise LongtailError(f"{name}, line {number}: `{line}` is not `path label`")
        yield Row(path.strip(), label, split=split)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    # Some editors put a mark of UTF-8 at the start.
    with file.open(encoding="utf-8-sig") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line.strip().replace("\t", " ")
        except UnicodeDecodeError as error:
            raise LongtailError(f"{file} is not UTF-8: {error}; save it as UTF-8") from None
