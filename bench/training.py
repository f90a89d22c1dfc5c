"""ResNet-32 on 32x32 images: our loop against one resident batch, and against the usual loop."""

import io
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
from longtail.augment import Augmentation, image_policy
from longtail.batches import Batching
from longtail.config.training import RepresentConfig
from longtail.data import ImageStore
from longtail.distributed import World
from longtail.losses.softmax import cross_entropy
from longtail.models import Network, build_backbone
from longtail.optimization import build_optimizer, working_precision
from longtail.training import Recipe, Trainer

IMAGES, BATCH, CLASSES, ROUNDS = 2048, 128, 100, 3
DEFAULTS = RepresentConfig()
CPU = torch.device("cpu")


def run() -> dict[str, float]:
    """Return images per second of the loops and the ratios of ours; rounds are interleaved."""
    color = (128, 128, 128)
    policy = image_policy("cifar10", color_jitter=(0.0,) * 4, color=color)
    with tempfile.TemporaryDirectory() as directory:
        store = _store(Path(directory))
        loops = {
            "ours": _ours(store, Augmentation()),
            "one_resident_batch": _resident_batch(store),
            "usual_loop": _usual(store, []),
            "ours_with_autoaugment": _ours(store, Augmentation(policy=policy)),
            "usual_loop_with_autoaugment": _usual(
                store, [transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10, fill=color)]
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(ROUNDS):
            for name, epoch in loops.items():
                started = time.perf_counter()
                epoch()
                seconds[name].append(time.perf_counter() - started)
    speed = {name: IMAGES / min(times) for name, times in seconds.items()}
    return {
        **{f"{name}_images_per_second": value for name, value in speed.items()},
        "ours_over_one_resident_batch": speed["ours"] / speed["one_resident_batch"],
        "ours_over_usual_loop": speed["ours"] / speed["usual_loop"],
        "ours_over_usual_loop_with_autoaugment": speed["ours_with_autoaugment"]
        / speed["usual_loop_with_autoaugment"],
    }


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
    store.make_resident(CPU)
    return store


def _network() -> tuple[Network, torch.optim.Optimizer]:
    network = Network(build_backbone("cifar_resnet32"), nn.Linear(64, CLASSES))
    optimizer = build_optimizer(
        network, name="sgd", learning_rate=0.1, weight_decay=2e-4, decay_norms_and_biases=True
    )
    return network, optimizer


def _ours(store: ImageStore, augmentation: Augmentation) -> Callable[[], None]:
    network, optimizer = _network()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    recipe = Recipe(
        epochs=1,
        batching=Batching(
            batch_size=BATCH,
            seed=0,
            order=lambda epoch, generator: torch.randperm(IMAGES, generator=generator),
            augmentation=augmentation,
            mixup_alpha=0.0,
            cutmix_alpha=0.0,
            mean=DEFAULTS.mean,
            std=DEFAULTS.std,
        ),
        num_classes=CLASSES,
        present=torch.ones(CLASSES, dtype=torch.bool),
        loss=cross_entropy,
        class_weights=lambda epoch: torch.ones(CLASSES),
        reduction="batch_mean",
        learning_rate=lambda step, total: 0.1,
        frozen_groups=lambda epoch: 0,
        sam_rho=None,
        early_stopping=None,
        precision=working_precision("auto", CPU),
    )
    trainer = Trainer(recipe, network, optimizer, World(0, 1, CPU))

    def epoch() -> None:
        trainer.state.start_epoch(0)
        trainer.train_epoch(store)

    return epoch


def _resident_batch(store: ImageStore) -> Callable[[], None]:
    """The same model and number format on one batch that is ready: what the hardware can do."""
    network, optimizer = _network()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    y = store.labels[:BATCH]
    precision = working_precision("auto", CPU)

    def epoch() -> None:
        for _ in range(IMAGES // BATCH):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                loss = F.cross_entropy(network(x).float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


class _Pictures(Dataset[tuple[Tensor, int]]):
    def __init__(self, store: ImageStore, policy: list[Any]) -> None:
        self.pixels = store.decode(torch.arange(len(store))).numpy()
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
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch
