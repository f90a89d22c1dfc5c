"""Where labelled images come from: one module per kind of source, one table that finds it."""

from collections.abc import Callable
from typing import Any

from longtail.config.ingest import Source
from longtail.sources import digits, folder, listing, parquet, split_lists, torchvision
from longtail.sources.collection import Collection, Connect

COLLECT: dict[str, Callable[[Any, Connect], Collection]] = {
    "digits": digits.collect,
    "torchvision": torchvision.collect,
    "folder": folder.collect,
    "parquet": parquet.collect,
    "listing": listing.collect,
    "split_lists": split_lists.collect,
}


def collect(source: Source, connect: Connect) -> Collection:
    """Return the classes and records of a source; `connect` opens the storage of a root."""
    return COLLECT[source.kind](source, connect)
