"""The stage-1 training loop: exact to resume, the same on one process or several."""

import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from longtail.augment import apply_policy, crop, draw_crops, mixup
from longtail.checkpoint import (
    TrainingState,
    load_checkpoint,
    save_checkpoint,
    stop_on_sigterm,
)
from longtail.data import ImageStore
from longtail.distributed import World
from longtail.losses import SampleLoss, weighted_mean
from longtail.metrics import balanced_accuracy
from longtail.models import normalize
from longtail.progress import progress
from longtail.randomness import generator_at, mixed_seed

log = logging.getLogger(__name__)

# What a place's random numbers are for, so that no two uses share a stream.
ORDER, CROPS, MIXUP, NOISE = range(4)


@dataclass(frozen=True)
class Recipe:
    """What a run is made of; what changes over the run is a function of the place in it."""

    epochs: int
    batch_size: int  # images a step, over all processes
    seed: int
    loss: SampleLoss
    order: Callable[[int, torch.Generator], Tensor]  # epoch -> positions of its images
    class_weights: Callable[[int], Tensor]  # epoch -> [C]
    learning_rate: Callable[[int, int], float]  # step, total steps -> rate
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_padding: int
    horizontal_flip: bool
    policy: Any | None  # a timm policy, applied image by image
    mixup_alpha: float
    early_stopping: int | None
    precision: torch.dtype


@dataclass(frozen=True)
class Outcome:
    """The best epoch by val, its weights, and every epoch's numbers."""

    best_epoch: int
    weights: dict[str, Tensor]
    history: list[dict[str, float]]


class Trainer:
    """Trains a network; all randomness is a function of seed, epoch and step.

    Therefore a run resumed at any step continues with the same batches, augmentation and noise, and
    several processes train on disjoint shares of the batches that one process would train on.

    Args:
        network: normalised images `[N, 3, S, S]` -> logits `[N, C]`.
        compiled: the same network as it is called, e.g. from `torch.compile`.
        average: an EMA of the network's weights (timm's ModelEmaV3), or None.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        world: World,
        *,
        compiled: Callable[[Tensor], Tensor] | None = None,
        average: Any | None = None,
    ) -> None:
        self.recipe, self.network, self.optimizer, self.world = recipe, network, optimizer, world
        self.average = average
        self.forward: Any = compiled or network
        if world.size > 1:
            self.forward = DistributedDataParallel(self.forward)
        self.state = TrainingState()
        self.best: dict[str, Tensor] = {}

    def fit(self, train: ImageStore, val: ImageStore, *, checkpoint: Path, key: str) -> Outcome:
        """Train, resuming from `checkpoint` if it is of the same `key`.

        Raises:
            SystemExit: SIGTERM arrived; the checkpoint is written and the next call goes on.
        """
        self._restore(checkpoint, key)
        with stop_on_sigterm() as stop:
            while self.state.epoch < self.recipe.epochs and not self._is_stale():
                self.train_epoch(train, should_stop=lambda: stop.arrived)
                if self.state.step < len(self._epoch_batches()):
                    self._save(checkpoint, key)
                    log.warning("stopped by SIGTERM; run the same command again to go on")
                    raise SystemExit(143)
                self._finish_epoch(val)
                self._save(checkpoint, key)
        return Outcome(self.state.best_epoch, self.best, self.state.history)

    def train_epoch(
        self, train: ImageStore, *, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Train from the current step to the end of the epoch, or until any rank should stop."""
        self.network.train()
        batches = self._epoch_batches()
        shares = [batch[self.world.share(batch)] for batch in batches[self.state.step :]]
        title = f"epoch {self.state.epoch + 1}/{self.recipe.epochs}"
        with progress(total=sum(map(len, batches)), what=title) as bar:
            bar.update(sum(map(len, batches[: self.state.step])))
            for images, batch in zip(train.stream(shares), batches[self.state.step :], strict=True):
                self._train_step(images, train.labels[batch], len(batches))
                bar.update(len(batch))
                if self.world.sum(torch.tensor([float(should_stop())]))[0] > 0:
                    return

    def _epoch_batches(self) -> list[Tensor]:
        """Positions of each batch; a rest too small for BatchNorm on every rank is left out."""
        place = generator_at(self.recipe.seed, ORDER, self.state.epoch)
        order = self.recipe.order(self.state.epoch, place)
        batches = list(torch.split(order, self.recipe.batch_size))
        if len(batches) > 1 and len(batches[-1]) < 2 * self.world.size:
            batches.pop()
        return batches

    def _train_step(self, images: Tensor, batch_labels: Tensor, steps_per_epoch: int) -> None:
        recipe, state, device = self.recipe, self.state, self.world.device
        place = (state.epoch, state.step)
        step = state.epoch * steps_per_epoch + state.step
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate(step, recipe.epochs * steps_per_epoch)
        part = self.world.share(batch_labels)
        labels = batch_labels[part].to(device)
        inputs, partners, share = self._prepare(images.to(device), part, len(batch_labels), place)
        torch.manual_seed(mixed_seed(recipe.seed, NOISE, *place, self.world.rank))
        with self._autocast():
            logits = self.forward(inputs)
        weights = recipe.class_weights(state.epoch).to(device)
        loss = share * weighted_mean(recipe.loss(logits.float(), labels), labels, weights)
        if share < 1:
            other = labels[partners]
            loss = loss + (1 - share) * weighted_mean(
                recipe.loss(logits.float(), other), other, weights
            )
        # DDP averages over ranks; weighted by each rank's part, this is the mean over the batch.
        part_weight = weights[labels].sum() / weights[batch_labels.to(device)].sum()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss * part_weight * self.world.size)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, step=step + 1)
        state.loss_sum += loss.item() * len(labels)
        state.correct += (logits.argmax(1) == labels).sum().item()
        state.seen += len(labels)
        state.step += 1

    def _prepare(
        self, images: Tensor, part: slice, batch_size: int, place: tuple[int, int]
    ) -> tuple[Tensor, Tensor, float]:
        """Augment and normalise: network inputs, mixup partners, and mixup's lambda."""
        recipe = self.recipe
        crops = draw_crops(
            batch_size,
            crop_padding=recipe.crop_padding,
            horizontal_flip=recipe.horizontal_flip,
            generator=generator_at(recipe.seed, CROPS, *place),
        )[part]
        images = crop(images, crops, crop_padding=recipe.crop_padding)
        if recipe.policy is not None:
            _seed_global_generators(mixed_seed(recipe.seed, NOISE, *place, self.world.rank))
            images = apply_policy(images, recipe.policy)
        inputs = normalize(images, mean=recipe.mean, std=recipe.std)
        if recipe.mixup_alpha == 0:
            return inputs, torch.arange(len(inputs)), 1.0
        place_seed = mixed_seed(recipe.seed, MIXUP, *place)
        return mixup(inputs, alpha=recipe.mixup_alpha, generator=np.random.default_rng(place_seed))

    def _finish_epoch(self, val: ImageStore) -> None:
        state = self.state
        self.world.synchronize_buffers(self.network)
        loss_sum, correct, seen = self._totals()
        evaluated = self.network if self.average is None else self.average.module
        numbers = self._evaluate(evaluated, val)
        state.history.append(
            {
                "epoch": state.epoch,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "train_loss": loss_sum / seen,
                "train_accuracy": correct / seen,
                **numbers,
            }
        )
        log.info("%s", state.history[-1])
        if numbers["val_balanced_accuracy"] > state.best_score:
            state.best_score = numbers["val_balanced_accuracy"]
            state.best_epoch = state.epoch
            self.best = {k: v.detach().cpu().clone() for k, v in evaluated.state_dict().items()}
        state.start_epoch(state.epoch + 1)

    @torch.no_grad()
    def _evaluate(self, network: nn.Module, val: ImageStore) -> dict[str, float]:
        network.eval()
        mine = torch.arange(len(val))[self.world.share(val.labels)]
        logits = []
        for images in val.stream(torch.split(mine, 4 * self.recipe.batch_size)):
            inputs = normalize(
                images.to(self.world.device), mean=self.recipe.mean, std=self.recipe.std
            )
            with self._autocast():
                logits.append(network(inputs).float().cpu())
        scores = self.world.gather(torch.cat(logits))  # [N, C]
        predictions = scores.max(dim=1).indices  # torch's argmax is slow on CPUs
        return {
            "val_loss": self.recipe.loss(scores, val.labels).mean().item(),
            "val_accuracy": (predictions == val.labels).double().mean().item(),
            "val_balanced_accuracy": balanced_accuracy(
                predictions.numpy(), val.labels.numpy(), num_classes=scores.shape[1]
            ),
        }

    def _totals(self) -> Iterator[float]:
        sums = torch.tensor(
            [self.state.loss_sum, self.state.correct, self.state.seen], dtype=torch.float64
        )
        return iter(self.world.sum(sums).tolist())

    def _is_stale(self) -> bool:
        patience = self.recipe.early_stopping
        return patience is not None and self.state.epoch - 1 - self.state.best_epoch >= patience

    def _autocast(self) -> torch.autocast:
        precision = self.recipe.precision
        return torch.autocast(
            self.world.device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16
        )

    def _save(self, path: Path, key: str) -> None:
        self.state.loss_sum, self.state.correct, self.state.seen = self._totals()
        if self.world.rank > 0:
            # Rank 0 holds the totals from here on, as it will after a restart.
            self.state.loss_sum = self.state.correct = self.state.seen = 0.0
            return
        tensors = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "best": self.best,
        }
        save_checkpoint(path, key=key, state=self.state, tensors=tensors)

    def _restore(self, path: Path, key: str) -> None:
        found = load_checkpoint(path, key=key)
        if found is None:
            return
        self.state, tensors = found
        self.network.load_state_dict(tensors["network"])
        self.optimizer.load_state_dict(tensors["optimizer"])
        if self.average is not None:
            self.average.module.load_state_dict(tensors["average"])
        self.best = tensors["best"]
        if self.world.rank > 0:
            self.state.loss_sum = self.state.correct = self.state.seen = 0.0
        log.warning("going on from epoch %d, step %d", self.state.epoch + 1, self.state.step)


def _seed_global_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
