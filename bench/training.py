"""ResNet-32 on 32x32 images: our loop against one resident batch, and against the usual loop."""

import io
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from longtail.artifacts import SHARD_SCHEMA, SPLIT_SCHEMA, Images
from longtail.backbones.building import build_backbone
from longtail.config.augment import AugmentConfig
from longtail.config.represent import RepresentConfig
from longtail.data import ImageStore
from longtail.distributed import World, world
from longtail.optimization import working_precision
from longtail.steps.stage1 import build_network, build_trainer

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
# About an epoch of CIFAR-100-LT, imbalance factor 100; a fifth of it on a CPU.
IMAGES, BATCH, CLASSES, ROUNDS = 10_847 if ON_GPU else 2048, 128, 100, 3
DEFAULTS = RepresentConfig()


def run() -> dict[str, float]:
    """Return images per second of the loops and the ratios of ours; rounds are interleaved."""
    with world() as processes, tempfile.TemporaryDirectory() as directory:
        store = _store(Path(directory))
        loops = {
            "ours": _ours(store, processes, AugmentConfig()),
            "one_resident_batch": _resident_batch(store),
            "usual_loop": _usual(store, []),
            "ours_with_autoaugment": _ours(store, processes, AugmentConfig(auto="cifar10")),
            "usual_loop_with_autoaugment": _usual(
                store, [transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)]
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(ROUNDS):
            for name, epoch in loops.items():
                started = time.perf_counter()
                epoch()
                _wait()
                seconds[name].append(time.perf_counter() - started)
    speed = {name: IMAGES / min(times) for name, times in seconds.items()}
    return {
        **{f"{name}_images_per_second": value for name, value in speed.items()},
        "ours_over_one_resident_batch": speed["ours"] / speed["one_resident_batch"],
        "ours_over_usual_loop": speed["ours"] / speed["usual_loop"],
        "ours_over_usual_loop_with_autoaugment": speed["ours_with_autoaugment"]
        / speed["usual_loop_with_autoaugment"],
    }


def _wait() -> None:
    if ON_GPU:
        torch.cuda.synchronize()


def _store(root: Path) -> ImageStore:
    """PNG images of noise, in an artifact as `ingest` and `split` write it."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    images = Images(root)
    data = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        data.append(buffer.getvalue())
    with pa.ipc.new_file(str(images.shard(0)), SHARD_SCHEMA) as writer:
        writer.write_batch(pa.record_batch([pa.array(data, pa.binary())], schema=SHARD_SCHEMA))
    rows = range(IMAGES)
    table = pa.table(
        [rows, [str(row) for row in rows], [0] * IMAGES, rows, [row % CLASSES for row in rows]],
        schema=SPLIT_SCHEMA,
    )
    pq.write_table(table, root / "train.parquet")
    store = ImageStore(images, root / "train.parquet", size=32)
    store.make_resident(DEVICE)
    return store


def _ours(store: ImageStore, processes: World, augment: AugmentConfig) -> Callable[[], None]:
    config = RepresentConfig(epochs=1, warmup_epochs=0, augment=augment, compile=ON_GPU)
    description = {
        "classes": list(map(str, range(CLASSES))),
        "class_counts": torch.bincount(store.labels).tolist(),
    }
    network = build_network(config, description, processes)
    trainer = build_trainer(config, network, store, description, processes)

    def epoch() -> None:
        trainer.state.start_epoch(0)
        trainer.train_epoch(store)

    return epoch


def _network() -> tuple[nn.Module, torch.optim.Optimizer]:
    network = nn.Sequential(build_backbone("cifar_resnet32"), nn.Linear(64, CLASSES)).to(DEVICE)
    return network, torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=2e-4)


def _resident_batch(store: ImageStore) -> Callable[[], None]:
    """The same model and number format on one batch that is ready: what the hardware can do."""
    network, optimizer = _network()
    network = network.to(memory_format=torch.channels_last)
    forward = torch.compile(network, mode="reduce-overhead") if ON_GPU else network
    x = torch.randn(BATCH, 3, 32, 32, device=DEVICE).contiguous(memory_format=torch.channels_last)
    y = store.labels[:BATCH].to(DEVICE)
    precision = working_precision("auto", DEVICE)

    def epoch() -> None:
        for _ in range(math.ceil(IMAGES / BATCH)):
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == torch.bfloat16):
                loss = F.cross_entropy(forward(x).float(), y)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()

    return epoch


class _Pictures(Dataset[tuple[Tensor, int]]):
    def __init__(self, store: ImageStore, policy: list[Any]) -> None:
        self.pixels = store.decode(torch.arange(len(store))).cpu().numpy()
        self.labels = store.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                *policy,
                transforms.ToTensor(),
                transforms.Normalize(DEFAULTS.mean, DEFAULTS.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def _usual(store: ImageStore, policy: list[Any]) -> Callable[[], None]:
    """PIL, per-image transforms, DataLoader workers, fp32, contiguous layout."""
    network, optimizer = _network()
    loader = DataLoader(_Pictures(store, policy), BATCH, shuffle=True, num_workers=4)

    def epoch() -> None:
        for x, y in loader:
            loss = F.cross_entropy(network(x.to(DEVICE)), y.to(DEVICE))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()

    return epoch
