"""Data sets that torchvision knows."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from longtail.config import TorchvisionSource
from longtail.errors import LongtailError
from longtail.sources.collection import Collection, Item


def read_torchvision(source: TorchvisionSource) -> Collection:
    """Read a torchvision set; files in the root are used, otherwise it is downloaded.

    torchvision compares the MD5 of CIFAR's pickled batches with the published one before it opens
    them, so that nothing but the official files is unpickled. Sets that are arrays (CIFAR,
    Fashion-MNIST) become lossless PNG; Caltech-101 keeps its JPEG files.
    """
    if source.name == "caltech101":
        return _caltech101(source)
    import torchvision.datasets as sets

    kinds = {"cifar10": sets.CIFAR10, "cifar100": sets.CIFAR100, "fashion_mnist": sets.FashionMNIST}
    parts = [
        (split, _open(kinds[source.name], source, train=split == "train"))
        for split in ("train", "test")
    ]
    return Collection(list(parts[0][1].classes), _items(parts), sum(len(p) for _, p in parts))


def _items(parts: list[tuple[str, Any]]) -> Iterator[Item]:
    for split, part in parts:
        for row in range(len(part)):
            picture, label = part[row]
            buffer = BytesIO()
            picture.save(buffer, "PNG")
            yield Item(f"{split}/{row:05d}.png", int(label), split, buffer.getvalue())


def _caltech101(source: TorchvisionSource) -> Collection:
    """101 classes and the background class, without a split of their own."""
    import torchvision.datasets as sets

    whole = _open(sets.Caltech101, source)
    folder = Path(whole.root) / "101_ObjectCategories"

    def items() -> Iterator[Item]:
        for number, label in zip(whole.index, whole.y, strict=True):
            path = folder / whole.categories[label] / f"image_{number:04d}.jpg"
            yield Item(path.relative_to(folder).as_posix(), int(label), None, path.read_bytes())

    return Collection(list(whole.categories), items(), len(whole))


def _open(kind: Callable[..., Any], source: TorchvisionSource, **options: Any) -> Any:
    try:
        return kind(root=source.root, download=False, **options)
    except RuntimeError:  # torchvision's word for files that are missing or not the official ones
        pass
    try:
        return kind(root=source.root, download=True, **options)
    except Exception as error:
        raise LongtailError(
            f"{source.name} is not in {source.root} and cannot be downloaded ({error}); put the "
            "official archive there, unpacked, or choose another ingest.source.root"
        ) from None
