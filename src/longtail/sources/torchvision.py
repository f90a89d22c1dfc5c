"""torchvision's data sets: downloaded if there is a network, else read from the root."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from longtail.config.ingest import TorchvisionSource
from longtail.errors import LongtailError
from longtail.sources.collection import Classes, Collection, Connect, Record
from longtail.sources.netpbm import encode

# Below the root: what torchvision reads, and what is to be put there by hand.
DIRECTORIES = {
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "fashion_mnist": "FashionMNIST/raw",
    "caltech101": "caltech101/101_ObjectCategories",
}
ARCHIVES = {
    "cifar10": "cifar-10-python.tar.gz, unpacked",
    "cifar100": "cifar-100-python.tar.gz, unpacked",
    "fashion_mnist": "the four *-ubyte files of Fashion-MNIST, unpacked",
    "caltech101": "101_ObjectCategories.tar.gz of caltech-101.zip, unpacked",
}
_SILENCE_SECONDS = 30.0


def wanted(source: TorchvisionSource) -> Callable[[str], bool]:
    """Return whether a path under the root belongs to the data set."""
    return lambda path: path.startswith(DIRECTORIES[source.name] + "/")


def prepare(source: TorchvisionSource) -> None:
    """Download the data set unless its files are in the root.

    Raises:
        LongtailError: the files are neither there nor to be had.
    """
    _open(source, train=True)


def collect(source: TorchvisionSource, connect: Connect) -> Collection:
    """Return the training images, then the test images; Caltech-101 has no such split.

    Caltech-101 keeps its JPEG files. The others are arrays and become PGM or PPM files, so that
    their ids depend on no version of a compressor. The CIFAR files are pickles, the one format of
    their makers: torchvision opens them only if their MD5 is the published one.
    """
    if source.name == "caltech101":
        return _caltech(source, connect)
    parts = {"train": _open(source, train=True), "test": _open(source, train=False)}

    def records() -> Iterator[Record]:
        for split, part in parts.items():
            pixels = np.asarray(part.data)  # [N, H, W] or [N, H, W, 3]
            for index, (image, label) in enumerate(zip(pixels, part.targets, strict=True)):
                extension = "pgm" if image.ndim == 2 else "ppm"
                path = f"{source.name}/{split}/{index:05d}.{extension}"
                yield Record(path, int(label), split, data=encode(image))

    names = list(parts["train"].classes)
    total = sum(len(part) for part in parts.values())
    return Collection(Classes(names, super_names=[], super_of=[]), total, records)


def _caltech(source: TorchvisionSource, connect: Connect) -> Collection:
    images = _open(source, train=True)
    storage = connect(source.root)

    def records() -> Iterator[Record]:
        for number, label in zip(images.index, images.y, strict=True):
            directory = f"{DIRECTORIES[source.name]}/{images.categories[label]}"
            yield Record(f"{directory}/image_{number:04d}.jpg", label)

    classes = Classes(list(images.categories), super_names=[], super_of=[])
    return Collection(
        classes, len(images), records, read=storage.read, concurrency=storage.concurrency
    )


def _open(source: TorchvisionSource, *, train: bool) -> Any:
    from torchvision import datasets

    kinds: dict[str, Callable[..., Any]] = {
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
        "fashion_mnist": datasets.FashionMNIST,
        "caltech101": datasets.Caltech101,
    }
    split = {} if source.name == "caltech101" else {"train": train}
    try:
        with _no_endless_wait():
            return kinds[source.name](source.root, download=True, **split)
    except Exception as error:  # no network, a silent one, a broken file: nearly anything
        raise LongtailError(
            f"{source.name} is not (whole) in {source.root} and cannot be downloaded "
            f"({type(error).__name__}: {' '.join(str(error).split())}). "
            f"Put {DIRECTORIES[source.name]} there: {ARCHIVES[source.name]}"
        ) from error


@contextmanager
def _no_endless_wait() -> Iterator[None]:
    """Give up on a silent network; torchvision itself sets no time limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
