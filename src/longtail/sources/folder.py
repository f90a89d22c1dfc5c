"""Image folders: the directory is the class."""

from pathlib import Path

from longtail.config import FolderSource
from longtail.errors import LongtailError, first_few
from longtail.io.storage import Root
from longtail.sources.collection import Collection
from longtail.sources.tables import Row, read_rows


def read_folder(source: FolderSource, root: Root) -> Collection:
    """Read `class/image` or, with two levels, `super/class/image`, in the order of sorted paths.

    Images may lie deeper; classes of the same name under two super-classes are refused.
    """
    rows, stray = [], []
    for entry in root.entries():
        parts = entry.path.split("/")
        if len(parts) <= source.levels:
            stray.append(entry.path)
            continue
        above = parts[0] if source.levels == 2 else None
        rows.append(Row(entry.path, parts[source.levels - 1], above, None))
    if stray:
        raise LongtailError(
            f"{source.root}: {len(stray)} files lie outside of the class directories: "
            f"{first_few(stray)}; move them, or set ingest.source.levels (now {source.levels})"
        )
    _refuse_empty_directories(source)
    return read_rows(rows, root, where=source.root)


def _refuse_empty_directories(source: FolderSource) -> None:
    """An empty directory is a class without images; a bucket has no empty directories."""
    root = Path(source.root)
    pattern = "/".join("*" * source.levels)
    empty = [
        str(directory.relative_to(root))
        for directory in sorted(root.glob(pattern))
        if directory.is_dir() and not any(file.is_file() for file in directory.rglob("*"))
    ]
    if empty:
        raise LongtailError(
            f"{source.root}: {len(empty)} class directories have no image: {first_few(empty)}; "
            "add images or remove the directories"
        )
