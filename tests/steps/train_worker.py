"""Train a network without BatchNorm by itself or under torchrun, and write down what each rank saw.

Run as `python train_worker.py IMAGES SPLIT OUT`; torchrun starts several of it.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from longtail.artifacts import Images, Split
from longtail.augment import Augmentation
from longtail.batches import Batching
from longtail.data import ImageStore
from longtail.distributed import world
from longtail.losses.softmax import cross_entropy
from longtail.network import Network
from longtail.training import Recipe, Trainer


def main(images: Path, split: Path, out: Path) -> None:
    tables = Split(split)
    train, val = (ImageStore(Images(images), table, size=8) for table in (tables.train, tables.val))
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh())
    network = Network(backbone, nn.Linear(16, 3))
    recipe = Recipe(
        epochs=3,
        batching=Batching(
            batch_size=7,
            seed=1,
            order=lambda epoch, generator: torch.randperm(len(train), generator=generator),
            augmentation=Augmentation(crop_padding=1),
            mixup_alpha=0.0,
            cutmix_alpha=0.0,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
        ),
        num_classes=3,
        present=torch.ones(3, dtype=torch.bool),
        loss=cross_entropy,
        class_weights=lambda epoch: torch.tensor([1.0, 2.0, 4.0]),
        reduction="weighted_mean",
        learning_rate=lambda step, total: 0.1,
        frozen_groups=lambda epoch: 0,
        sam_rho=None,
        early_stopping=None,
        precision=torch.float32,
    )
    with world() as processes:
        seen: list[Tensor] = []
        stream = train.stream

        def noting(batches: Iterable[Tensor]) -> Iterator[Tensor]:
            seen.extend(batches := list(batches))
            return stream(batches)

        train.stream = noting  # type: ignore[method-assign]
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        trainer = Trainer(recipe, network, optimizer, processes)
        trainer.fit(train, val, checkpoint=out / "checkpoint.pt", key="worker")
        save_file(
            {**network.state_dict(), **{f"seen.{step}": part for step, part in enumerate(seen)}},
            out / f"rank{processes.rank}.safetensors",
        )


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
