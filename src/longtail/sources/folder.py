"""Directories as classes, or as super-classes with classes in them."""

from collections import Counter
from collections.abc import Iterator

from longtail.config.ingest import FolderSource
from longtail.errors import LongtailError, first_few
from longtail.sources.collection import Collection, Connect, Record, Storage, printable
from longtail.sources.labels import Numbering, classes_of, number_labels


def collect(source: FolderSource, connect: Connect) -> Collection:
    """Return the files of every class directory, in the order of their paths.

    The first part of a path (the second, with `levels: 2`) is the class; directories below it do
    not matter. A hidden file or one outside of any class directory is a bad image; a hidden
    directory is no class.

    Raises:
        LongtailError: no class directories, one without files, or a class under two super-classes.
    """
    storage = connect(source.root)
    counts: Counter[tuple[str, ...]] = Counter()
    total = 0
    for entry in storage.entries():
        is_file = not entry.path.endswith("/")
        total += is_file
        directories = entry.path.split("/")[:-1]
        if not _is_hidden(entry.path):
            counts[tuple(directories[: source.levels])] += is_file
    _check(counts, source)
    full = [chosen for chosen in counts if len(chosen) == source.levels]
    labels = number_labels((names[-1] for names in full), names=None, what="class", text=False)
    supers = None
    if source.levels == 2:
        tops = (names[0] for names in full)
        supers = number_labels(tops, names=None, what="super-class", text=False)
    classes = classes_of([(names[-1], names[0]) for names in full], labels, supers)
    return Collection(
        classes,
        total,
        lambda: _records(storage, labels, levels=source.levels),
        read=storage.read,
        concurrency=storage.concurrency,
    )


def _records(storage: Storage, labels: Numbering, *, levels: int) -> Iterator[Record]:
    for entry in storage.entries():
        if entry.path.endswith("/"):
            continue
        directories = entry.path.split("/")[:-1]
        if _is_hidden(entry.path):
            yield Record(entry.path, None, problem="hidden: in no class")
        elif len(directories) < levels:
            yield Record(entry.path, None, problem="not inside a class directory")
        else:
            yield Record(entry.path, labels.number[directories[levels - 1]])


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _check(counts: Counter[tuple[str, ...]], source: FolderSource) -> None:
    if not any(len(directories) == source.levels for directories in counts):
        raise LongtailError(
            f"No class directories under {source.root}: expected "
            f"{'SUPER/CLASS/IMAGE' if source.levels == 2 else 'CLASS/IMAGE'}. "
            "Check root and levels"
        )
    full = [directories for directories in counts if len(directories) == source.levels]
    paths = ["/".join(directories) for directories in full]
    unnamed = [printable(path) for path in paths if printable(path) != path]
    if unnamed:
        raise LongtailError(
            f"{first_few(unnamed)}: a class is named by UTF-8, rename the directory"
        )
    parents = {directories[:1] for directories in full}
    hollow = [directories for directories in full if counts[directories] == 0]
    hollow += [d for d in counts if 0 < len(d) < source.levels and d not in parents]
    empty = ["/".join(directories) for directories in sorted(hollow)]
    if empty:
        raise LongtailError(
            f"{len(empty)} directories under {source.root} hold no image: {first_few(empty)}. "
            "An empty class cannot be learned: fill or remove them"
        )
