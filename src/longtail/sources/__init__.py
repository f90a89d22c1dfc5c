"""Where labelled images come from: one module a kind of source."""

from pathlib import Path

from longtail.config import (
    DigitsSource,
    FolderSource,
    IngestConfig,
    ListingSource,
    ParquetSource,
    SplitListsSource,
    TorchvisionSource,
)
from longtail.io.storage import Root, open_root
from longtail.sources.collection import Collection, Item
from longtail.sources.digits import read_digits
from longtail.sources.folder import read_folder
from longtail.sources.parquet import read_parquet
from longtail.sources.tables import read_listing, read_split_lists
from longtail.sources.torchvision_sets import read_torchvision

__all__ = ["Collection", "Item", "open_collection", "source_root"]


def source_root(config: IngestConfig, *, cache: Path | None = None) -> Root | None:
    """Open the root of the source; None for sources that have none of their own files."""
    source = config.source
    if isinstance(source, DigitsSource | TorchvisionSource):
        return None
    return open_root(source.root, config.s3, cache=cache)


def open_collection(config: IngestConfig, *, cache: Path) -> Collection:
    """Open the source that the parameters name; downloads are kept in `cache` for a resumed run.

    Raises:
        LongtailError: the source cannot be reached, or its listing is not usable.
    """
    source = config.source
    if isinstance(source, DigitsSource):
        return read_digits()
    if isinstance(source, TorchvisionSource):
        return read_torchvision(source)
    root = open_root(source.root, config.s3, cache=cache)
    if isinstance(source, FolderSource):
        return read_folder(source, root)
    if isinstance(source, ParquetSource):
        return read_parquet(source, root)
    if isinstance(source, ListingSource):
        return read_listing(source, root)
    assert isinstance(source, SplitListsSource)
    return read_split_lists(source, root)
