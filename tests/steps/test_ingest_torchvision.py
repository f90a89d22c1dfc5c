"""torchvision's sets from tiny files in their real layout; nothing is downloaded in tests."""

import gzip
import hashlib
import os
import pickle
import socket
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision import datasets

from longtail.errors import LongtailError
from tests.steps.ingest_fixtures import (
    encode,
    manifest,
    picture,
    run_ingest,
    stored_bytes,
    write_tree,
)

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", refuse)


class Trap:
    """Makes a directory when it is unpickled."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.directory),)


def as_stored(pixels: np.ndarray) -> bytes:
    kind, height, width = ("P5" if pixels.ndim == 2 else "P6"), *pixels.shape[:2]
    return f"{kind}\n{width} {height}\n255\n".encode() + pixels.tobytes()


def write_cifar(
    root: Path, kind: Any, monkeypatch: pytest.MonkeyPatch, *, label_key: str, classes: list[str]
) -> dict[str, np.ndarray]:
    """Write batches of two images; torchvision then takes their MD5 for the published one."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    pixels = {}

    def write(name: str, content: dict[str, Any]) -> str:
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    for part in ("train_list", "test_list"):
        sums = []
        for name, _ in getattr(kind, part):
            pixels[name] = RNG.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
            content = {"data": pixels[name].reshape(2, -1), label_key: [0, 1]}
            sums.append([name, write(name, content)])
        monkeypatch.setattr(kind, part, sums)
    meta = dict(kind.meta)
    meta["md5"] = write(meta["filename"], {meta["key"]: classes})
    monkeypatch.setattr(kind, "meta", meta)
    return pixels


@pytest.mark.parametrize(
    ("name", "kind", "label_key"),
    [("cifar10", datasets.CIFAR10, "labels"), ("cifar100", datasets.CIFAR100, "fine_labels")],
)
def test_cifar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: Any, label_key: str
) -> None:
    root, names = tmp_path / "in", ["apple", "bear"]
    pixels = write_cifar(root, kind, monkeypatch, label_key=label_key, classes=names)
    images = run_ingest(tmp_path, {"kind": "torchvision", "name": name, "root": str(root)})
    table = manifest(images)
    batches = [*kind.train_list, *kind.test_list]
    expected = np.concatenate([pixels[batch] for batch, _ in batches]).transpose(0, 2, 3, 1)
    assert stored_bytes(images) == [as_stored(image) for image in expected]
    assert table["class_name"].tolist() == names * len(batches)
    splits = ["train"] * (2 * len(kind.train_list)) + ["test"] * 2
    assert table["source_split"].tolist() == splits


def test_a_foreign_pickle_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "in"
    write_cifar(root, datasets.CIFAR10, monkeypatch, label_key="labels", classes=["a", "b"])
    trap = tmp_path / "opened"
    batch = root / datasets.CIFAR10.base_folder / "data_batch_3"
    batch.write_bytes(pickle.dumps(Trap(trap)))
    pickle.loads(batch.read_bytes())
    assert trap.exists()  # the trap works
    trap.rmdir()
    with pytest.raises(LongtailError, match="cifar10 is not"):
        run_ingest(tmp_path, {"kind": "torchvision", "name": "cifar10", "root": str(root)})
    assert not trap.exists()


def test_fashion_mnist(tmp_path: Path) -> None:
    raw = tmp_path / "in" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = {"train": RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8)}
    pixels["t10k"] = RNG.integers(0, 256, (10, 28, 28), dtype=np.uint8)
    for name, images in pixels.items():
        labels = np.arange(len(images), dtype=np.uint8) % 10
        header = struct.pack(">IIII", 0x803, *images.shape)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">II", 0x801, len(labels))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"left over"))
    source = {"kind": "torchvision", "name": "fashion_mnist", "root": str(tmp_path / "in")}
    ingested = run_ingest(tmp_path, source)
    assert stored_bytes(ingested) == [as_stored(i) for i in [*pixels["train"], *pixels["t10k"]]]
    assert manifest(ingested)["class_name"].tolist()[:2] == ["T-shirt/top", "Trouser"]


def test_caltech_keeps_its_files_and_leaves_the_background_out(tmp_path: Path) -> None:
    categories = tmp_path / "in" / "caltech101" / "101_ObjectCategories"
    jpegs = {
        f"{name}/image_{number:04d}.jpg": encode(picture(number), "JPEG")
        for name in ("BACKGROUND_Google", "accordion", "wrench")
        for number in (1, 2)
    }
    write_tree(categories, jpegs)
    source = {"kind": "torchvision", "name": "caltech101", "root": str(tmp_path / "in")}
    ingested = run_ingest(tmp_path, source)
    assert stored_bytes(ingested) == [jpegs[p] for p in jpegs if not p.startswith("BACK")]
    assert manifest(ingested)["class_name"].tolist() == ["accordion"] * 2 + ["wrench"] * 2


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("caltech101", "caltech101/101_ObjectCategories"),
    ],
)
def test_without_files_and_network_the_error_says_what_to_put_where(
    tmp_path: Path, name: str, place: str
) -> None:
    root = tmp_path / "in"
    with pytest.raises(LongtailError, match=f"{name} is not .*Put {place} there") as caught:
        run_ingest(tmp_path, {"kind": "torchvision", "name": name, "root": str(root)})
    assert str(root) in str(caught.value)
