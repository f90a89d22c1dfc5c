"""The batches of an epoch of stage 1: drawn, augmented, mixed; alike on one process or several."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longtail.augment import Augmentation, augment, draw_augmentation
from longtail.backbones.images import normalize
from longtail.data import ImageStore
from longtail.distributed import World
from longtail.mixing import mix
from longtail.randomness import Use, generator_at, mixed_seed

# Bytes of pixels that are augmented at once: an epoch of CIFAR-100-LT, or a batch of large images.
# Small images take less time themselves than starting the many operations of their augmentation.
_AT_ONCE = 32 * 2**20


@dataclass(frozen=True)
class Batching:
    """How batches come about."""

    batch_size: int  # images a step, over all processes
    seed: int
    order: Callable[[int, torch.Generator], Tensor]  # epoch -> positions of its images
    augmentation: Augmentation
    mixup_alpha: float
    cutmix_alpha: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Batch:
    """A process's part of a batch, ready for the network; without mixing `share` is 1."""

    inputs: Tensor  # [n, 3, S, S]
    labels: Tensor  # [n]
    partners: Tensor  # [n], whose labels count with 1 - share
    share: float
    all_labels: Tensor  # of the whole batch


class Epoch:
    """The batches of one epoch, `len` of them, as one process sees them.

    All that is drawn is a function of seed, epoch and step, and drawn for all processes: an epoch
    that is resumed has the batches that were left, and several processes have disjoint shares of
    the batches that one process would have.

    Args:
        number: of the epoch, from 0.
    """

    def __init__(
        self, batching: Batching, train: ImageStore, *, number: int, processes: World
    ) -> None:
        self.batching, self.train, self.number = batching, train, number
        self.processes = processes
        self._order = self._draw_order()
        self._steps = torch.split(torch.arange(len(self._order)), batching.batch_size)
        self._labels = train.labels[self._order].to(processes.device)
        self._draws = draw_augmentation(
            batching.augmentation,
            len(self._order),
            generator=generator_at(batching.seed, Use.AUGMENTATION, number),
            batch_size=batching.batch_size,
        )

    def __len__(self) -> int:
        return len(self._steps)

    def images(self, *, until: int | None = None) -> int:
        """Return how many images the steps before `until` have, over all processes."""
        return sum(map(len, self._steps[:until]))

    def batches(self, *, start: int = 0) -> Iterator[Batch]:
        """Yield this process's part of each batch from step `start` on."""
        shares = [step[self.processes.share(step)] for step in self._steps[start:]]
        labels = torch.split(self._labels, self.batching.batch_size)[start:]
        steps = enumerate(zip(self._augmented(shares), labels, strict=True), start)
        for number, (pixels, all_labels) in steps:
            inputs = normalize(pixels, mean=self.batching.mean, std=self.batching.std)
            blend, partners, share = self._mixed(inputs, number)
            mine = all_labels[self.processes.share(all_labels)]
            yield Batch(blend, mine, partners, share, all_labels)

    def _draw_order(self) -> Tensor:
        """Positions of the images; a rest too small for BatchNorm on every rank is left out."""
        place = generator_at(self.batching.seed, Use.ORDER, self.number)
        order = self.batching.order(self.number, place)
        rest = len(order) % self.batching.batch_size
        whole = len(order) - rest
        return order[:whole] if whole and rest < 2 * self.processes.size else order

    def _augmented(self, shares: list[Tensor]) -> Iterator[Tensor]:
        """Yield the images of each share on the device, uint8 `[n, S, S, 3]`."""
        device = self.processes.device
        # Images that are still to be read and decoded are wanted batch by batch.
        size = self.train.image_bytes * self.batching.batch_size
        at_once = max(1, _AT_ONCE // size) if self.train.is_resident else 1
        groups = [shares[first : first + at_once] for first in range(0, len(shares), at_once)]
        stored = self.train.stream(self._order[torch.cat(group)] for group in groups)
        for group, pixels in zip(groups, stored, strict=True):
            drawn = self._draws[torch.cat(group)].to(device)
            pixels = pixels.to(device, non_blocking=True)
            augmented = augment(pixels, self.batching.augmentation, drawn)
            yield from torch.split(augmented, list(map(len, group)))

    def _mixed(self, inputs: Tensor, step: int) -> tuple[Tensor, Tensor, float]:
        how = self.batching
        if not how.mixup_alpha and not how.cutmix_alpha:
            return inputs, torch.arange(len(inputs)), 1.0
        seed = mixed_seed(how.seed, Use.MIXING, self.number, step)
        return mix(
            inputs,
            mixup_alpha=how.mixup_alpha,
            cutmix_alpha=how.cutmix_alpha,
            generator=np.random.default_rng(seed),
        )
