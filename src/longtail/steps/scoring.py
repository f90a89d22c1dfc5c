"""Score images of a storage with a model, batch by batch."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from longtail.image_input import Pixels, try_pixels
from longtail.imaging import BadImage
from longtail.parallel import in_order
from longtail.predictor import Predictor, Scores
from longtail.progress import progress
from longtail.sources.collection import Storage, printable


@dataclass(frozen=True)
class Batch:
    """Paths of images with the reasons why they could not be read; `scores` of those that were."""

    paths: list[str]
    reasons: list[str | None]
    scores: Scores | None


def scored(
    predictor: Predictor, storage: Storage, paths: list[str], *, batch_size: int
) -> Iterator[Batch]:
    """Yield the scores of the images at `paths`, in order, `batch_size` at a time.

    They are read and decoded by threads, a bounded number ahead of the model.
    """
    read = partial(_read, storage, predictor.facts.image_size)
    tasks = ((path, path) for path in paths)
    with (
        ThreadPoolExecutor(storage.concurrency, thread_name_prefix="read") as threads,
        progress(total=len(paths), what="predict") as bar,
    ):
        pending: list[tuple[str, Pixels | str]] = []
        for number, pair in enumerate(in_order(threads, read, tasks, ahead=2 * batch_size), 1):
            pending.append(pair)
            if len(pending) == batch_size or number == len(paths):
                yield _score(predictor, pending)
                bar.update(len(pending))
                pending = []


def _read(storage: Storage, size: int, path: str) -> Pixels | str:
    try:
        return try_pixels(storage.read(path), size=size)
    except BadImage as reason:
        return str(reason)


def _score(predictor: Predictor, seen: list[tuple[str, Pixels | str]]) -> Batch:
    good = [pixels for _, pixels in seen if not isinstance(pixels, str)]
    return Batch(
        [printable(path) for path, _ in seen],
        [pixels if isinstance(pixels, str) else None for _, pixels in seen],
        predictor.scores(np.stack(good)) if good else None,
    )
