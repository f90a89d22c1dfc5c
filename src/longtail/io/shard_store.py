"""The encoded images of an artifact, by shard and row, whether its shards are local or not."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from longtail.artifacts import Images
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.io.objects import Objects
from longtail.io.shard_cache import Piece, ShardCache, WrongDigest, node_cache

_REQUESTS = 32  # at the same time


class Shards(Protocol):
    """Encoded images; all methods may be called from several threads."""

    def encoded(self, shards: ArrayLike, rows: ArrayLike) -> list[bytes]:
        """Return the bytes of the images at these places, in the order asked for."""
        ...

    def rows(self, shard: int) -> str:
        """Return how many rows a shard has, or why it cannot be read."""
        ...


def open_shards(images: Images) -> Shards:
    """Return what reads the images: a published artifact's through the cache of this node."""
    return PublishedShards(images, node_cache()) if images.shards.is_file() else LocalShards(images)


class LocalShards:
    """Shards in the artifact's own directory, memory-mapped."""

    def __init__(self, images: Images) -> None:
        self._images = images
        # Few shards stay open: a mapped shard counts as memory, and opening one is cheap.
        self._column = lru_cache(maxsize=4)(self._read)

    def encoded(self, shards: ArrayLike, rows: ArrayLike) -> list[bytes]:
        """Return the bytes of the images at these places, opening each shard at most once."""
        of_shard, of_row = np.asarray(shards), np.asarray(rows)
        found = [b""] * len(of_shard)
        for slot in np.argsort(of_shard, kind="stable"):
            found[slot] = self._column(int(of_shard[slot]))[int(of_row[slot])].as_py()
        return found

    def rows(self, shard: int) -> str:
        """Return how many rows a shard has, or why it cannot be read."""
        if not self._images.shard(shard).is_file():
            return "no such file"
        try:
            return str(len(self._column(shard)))
        except (pa.ArrowInvalid, KeyError):
            return "not an Arrow file of images"

    def _read(self, shard: int) -> pa.ChunkedArray:
        with pa.memory_map(str(self._images.shard(shard))) as file:
            return pa.ipc.open_file(file).read_all()["bytes"]


class PublishedShards:
    """Shards in an object store, of which the images that are asked for are fetched.

    Every image is verified by its id, which is the SHA-256 of its bytes, whether it comes from the
    store or from the cache. Several requests are under way at a time.
    """

    def __init__(self, images: Images, cache: ShardCache) -> None:
        self._cache = cache
        self._entries = read_json(images.shards)
        table = pq.read_table(images.manifest, columns=["shard", "bytes", "id"])
        self._first = np.searchsorted(table["shard"].to_numpy(), np.arange(len(self._entries) + 1))
        counts = [entry["rows"] for entry in self._entries]
        if np.diff(self._first).tolist() != counts or len(table) != sum(counts):
            raise LongtailError(
                f"{images.shards} does not belong to {images.manifest}; run `longtail publish` for "
                "these images again"
            )
        self._sizes = table["bytes"].to_numpy()
        self._ids = table["id"].combine_chunks()
        self._starts = _starts(self._entries, self._first, self._sizes)
        self._requests = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="fetch")
        self._readers = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="shard")
        self._objects = Objects()

    def encoded(self, shards: ArrayLike, rows: ArrayLike) -> list[bytes]:
        """Return the bytes of the images at these places.

        Raises:
            LongtailError: the store cannot be read, or holds other bytes than were published.
        """
        of_shard = np.asarray(shards)
        positions = self._first[of_shard] + np.asarray(rows)
        order = np.argsort(of_shard, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(of_shard[order])) + 1)
        numbers = [int(of_shard[slots[0]]) for slots in groups]
        found = [b""] * len(of_shard)
        read = self._readers.map(self._read, numbers, [positions[slots] for slots in groups])
        for slots, data in zip(groups, read, strict=True):
            for slot, image in zip(slots, data, strict=True):
                found[slot] = image
        return found

    def rows(self, shard: int) -> str:
        """Return how many rows a shard has, or why it cannot be read."""
        entry = self._entries[shard]
        size = self._objects.size(entry["address"])
        if size == entry["bytes"]:
            return str(entry["rows"])
        return "no such object" if size is None else f"an object of {size} bytes"

    def _read(self, shard: int, positions: Sequence[int]) -> list[bytes]:
        entry = self._entries[shard]
        pieces = [
            Piece(int(self._starts[p]), int(self._sizes[p]), self._ids[p].as_py())
            for p in positions
        ]
        try:
            return self._cache.read(entry["sha256"], pieces, partial(self._fetch, entry["address"]))
        except WrongDigest as wrong:
            row = positions[wrong.number] - self._first[shard]
            raise LongtailError(
                f"{entry['address']}: the image of row {row} has another SHA-256 than the "
                f"manifest's {pieces[wrong.number].digest}, so the object was damaged or replaced; "
                "remove it and run `longtail publish` again"
            ) from None

    def _fetch(self, address: str, runs: list[range]) -> Iterable[bytes]:
        return self._requests.map(partial(self._objects.read, address), runs)


def _starts(
    entries: Sequence[Any], first: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return where each image begins in its shard: one after the other from where a batch does."""
    starts = np.cumsum(sizes) - sizes
    for entry, begin in zip(entries, first, strict=False):
        for row, position in entry["batches"]:
            images = slice(begin + row, begin + entry["rows"])
            starts[images] += position - starts[begin + row]
    return starts
