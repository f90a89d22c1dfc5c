"""Features of the frozen backbone, computed once, so that stage 2 takes seconds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtail.artifacts import Features, Images, Representation
from longtail.augment import Augmentation, augment, draw_augmentation
from longtail.config.stage2 import EmbedConfig
from longtail.data import ImageStore
from longtail.extraction import FeatureExtractor
from longtail.features import write_features
from longtail.files import whole_directory, write_json
from longtail.progress import progress
from longtail.randomness import Use, generator_at


def embed(
    config: EmbedConfig, *, images: Path, train: Path, val: Path, representation: Path, out: Path
) -> None:
    """Write `Features`: train in `train_views` views, val in one; images stream through once.

    View 0 is the plain image, further ones are cropped (padding 1/8 of the side), and mirrored if
    stage 1 mirrored. The backbone is in `eval()`: its BatchNorm statistics stay as stage 1 left
    them.
    """
    extract = FeatureExtractor(Representation(representation), test_time_flip=config.test_time_flip)
    size, dimension = extract.description["image_size"], extract.description["feature_dim"]
    with whole_directory(out) as directory:
        artifact = Features(directory)
        write_json(artifact.description, {"test_time_flip": config.test_time_flip})
        for split, table, views in (("train", train, config.train_views), ("val", val, 1)):
            store = ImageStore(Images(images), table, size=size)
            batches = _features(extract, store, views, config, what=f"embed {split}")
            shape = (views, len(store), dimension)
            write_features(artifact.features(split), batches, shape=shape)
            np.save(artifact.labels(split), store.labels.numpy(), allow_pickle=False)


def _features(
    extract: FeatureExtractor,
    store: ImageStore,
    views: int,
    config: EmbedConfig,
    *,
    what: str,
) -> Iterator[Tensor]:
    """Yield `[V, n, D]` of each batch: its images are read and decoded once for all views."""
    mirror = extract.description["horizontal_flip"]
    with progress(total=len(store), what=what) as bar:
        for number, pixels in enumerate(store.batches(config.batch_size)):
            seen = (_view(pixels, view, number, config, mirror=mirror) for view in range(views))
            yield torch.stack(list(map(extract, seen)))
            bar.update(len(pixels))


def _view(pixels: Tensor, view: int, number: int, config: EmbedConfig, *, mirror: bool) -> Tensor:
    if view == 0:
        return pixels
    augmentation = Augmentation(crop_padding=pixels.shape[1] // 8, horizontal_flip=mirror)
    place = generator_at(config.seed, Use.VIEW, view, number)
    drawn = draw_augmentation(augmentation, len(pixels), generator=place)
    return augment(pixels, augmentation, drawn)
