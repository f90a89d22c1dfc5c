"""Features on disk as NumPy files, written as a stream and read without copying."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtail.artifacts import Features
from longtail.errors import LongtailError


def write_features(path: Path, batches: Iterable[Tensor], *, shape: tuple[int, int, int]) -> None:
    """Write float32 batches `[V, n, D]`, one after the other, as one array `[V, N, D]`.

    Only one batch is in memory at a time.

    Raises:
        ValueError: the batches do not add up to `shape`.
    """
    images, row_bytes = 0, 4 * shape[2]
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for batch in batches:
            for view, features in enumerate(batch.numpy().astype("<f4")):
                file.seek(start + (view * shape[1] + images) * row_bytes)
                file.write(features.tobytes())
            images += batch.shape[1]
    if images != shape[1]:
        raise ValueError(f"wrote features of {images} images for an array of shape {shape}")


def read_features(artifact: Features, split: str) -> tuple[Tensor, Tensor]:
    """Return features float32 `[V, N, D]` and labels int64 `[N]` of `train` or `val`.

    Raises:
        LongtailError: there are none.
    """
    features = np.load(artifact.features(split), allow_pickle=False)
    labels = np.load(artifact.labels(split), allow_pickle=False)
    if len(labels) == 0:
        raise LongtailError(
            f"{artifact.features(split)} has no images; change the split so that {split} gets some"
        )
    return torch.from_numpy(features), torch.from_numpy(labels)
