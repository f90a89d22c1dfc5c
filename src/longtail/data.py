"""Images of one split as uint8 batches, decoded from the shards as needed or all at once."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from longtail.artifacts import Images
from longtail.imaging import decode
from longtail.progress import progress

CHUNK = 1024


class ImageStore:
    """The images that one split table names, as square uint8 RGB tensors.

    Args:
        images: the images artifact.
        table: `train.parquet`, `val.parquet` or `test.parquet` of a split.
        size: side of the images in pixels; others are resized and centre-cropped.
    """

    def __init__(self, images: Images, table: Path, *, size: int) -> None:
        rows = pq.read_table(table, columns=["shard", "row", "label"])
        self.size = size
        self.labels = torch.from_numpy(rows["label"].to_numpy().astype(np.int64))  # [N]
        self._shards = rows["shard"].to_numpy()
        self._rows = rows["row"].to_numpy()
        # Few shards stay open: a mapped shard counts as memory, and opening one is cheap.
        self._column = lru_cache(maxsize=2)(partial(_read_shard, images))
        self._pool = ThreadPoolExecutor(thread_name_prefix="decode")
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """Memory in bytes that all images take once decoded."""
        return len(self) * self.size * self.size * 3

    def make_resident(self, device: torch.device) -> None:
        """Decode every image once and keep them on `device`."""
        pixels = torch.empty((len(self), self.size, self.size, 3), dtype=torch.uint8)
        with progress(total=len(self), what="decode") as bar:
            start = 0
            for batch in self.batches(CHUNK):
                pixels[start : start + len(batch)] = batch
                start += len(batch)
                bar.update(len(batch))
        self._resident = pixels.to(device)

    def decode(self, positions: Sequence[int] | Tensor) -> Tensor:
        """Return the images at `positions` of the table, uint8 `[n, size, size, 3]`."""
        if self._resident is not None:
            return self._resident[torch.as_tensor(positions, device=self._resident.device)]
        wanted = np.asarray(positions)
        encoded: list[bytes] = [b""] * len(wanted)
        # By shard, so that each shard is opened at most once a batch.
        for slot in np.argsort(self._shards[wanted], kind="stable"):
            position = wanted[slot]
            encoded[slot] = self._column(int(self._shards[position]))[
                int(self._rows[position])
            ].as_py()
        pixels = list(self._pool.map(partial(decode, size=self.size), encoded))
        return torch.from_numpy(np.stack(pixels))

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Yield all images in table order, uint8 `[<= batch_size, size, size, 3]`."""
        return self.stream(torch.split(torch.arange(len(self)), batch_size))

    def stream(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the images of each batch of positions, decoding the next one in the background."""
        if self._resident is not None:
            yield from map(self.decode, batches)
            return
        with ThreadPoolExecutor(max_workers=1) as ahead:
            pending = None
            for positions in batches:
                following = ahead.submit(self.decode, positions)
                if pending is not None:
                    yield pending.result()
                pending = following
            if pending is not None:
                yield pending.result()


def _read_shard(images: Images, number: int) -> pa.ChunkedArray:
    with pa.memory_map(str(images.shard(number))) as file:
        return pa.ipc.open_file(file).read_all()["bytes"]
