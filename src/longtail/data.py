"""Images of one split as uint8 batches, decoded from the shards as needed or all at once."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from longtail.artifacts import Images
from longtail.imaging import decode
from longtail.io.shard_store import open_shards
from longtail.parallel import in_order
from longtail.progress import progress

CHUNK = 1024
_READ_AHEAD = 3  # batches, while one is decoded and one is used


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
        self._images = open_shards(images)
        self._pool = ThreadPoolExecutor(thread_name_prefix="decode")
        self._decode_one = partial(decode, size=size)
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_bytes(self) -> int:
        """Memory in bytes that an image takes once decoded."""
        return self.size * self.size * 3

    @property
    def is_resident(self) -> bool:
        """Whether all images are decoded and in memory."""
        return self._resident is not None

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
        return self._decode(self._read(positions))

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Yield all images in table order, uint8 `[<= batch_size, size, size, 3]`."""
        return self.stream(torch.split(torch.arange(len(self)), batch_size))

    def stream(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the images of each batch of positions; the next ones are read and decoded ahead."""
        if self._resident is not None:
            yield from map(self.decode, batches)
            return
        with ThreadPoolExecutor(_READ_AHEAD) as readers, ThreadPoolExecutor(1) as decoder:
            wanted = ((None, positions) for positions in batches)
            encoded = in_order(readers, self._read, wanted, ahead=_READ_AHEAD)
            for _, pixels in in_order(decoder, self._decode, encoded, ahead=2):
                yield pixels

    def _read(self, positions: Sequence[int] | Tensor) -> list[bytes]:
        wanted = np.asarray(positions)
        return self._images.encoded(self._shards[wanted], self._rows[wanted])

    def _decode(self, encoded: list[bytes]) -> Tensor:
        return torch.from_numpy(np.stack(list(self._pool.map(self._decode_one, encoded))))
