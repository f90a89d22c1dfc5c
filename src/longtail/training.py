"""The stage-1 training loop: exact to resume, with the same batches on one process or several."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from longtail.backbones.freezing import freeze, rest
from longtail.backbones.images import normalize
from longtail.batches import Batch, Batching, Epoch
from longtail.checkpoint import (
    TrainingState,
    load_checkpoint,
    save_checkpoint,
    stop_on_sigterm,
)
from longtail.cost import spent_before
from longtail.data import ImageStore
from longtail.distributed import World
from longtail.errors import LongtailError
from longtail.losses.table import SampleLoss
from longtail.losses.weights import Reduction
from longtail.metrics import val_scores
from longtail.network import Network
from longtail.optimization import ascend, still_statistics
from longtail.progress import progress
from longtail.randomness import Use, mixed_seed

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 10.0  # one takes as long as several steps of a small network on a GPU

AfterEpoch = Callable[[list[dict[str, float]]], None]


@dataclass(frozen=True)
class Recipe:
    """What a run is made of; what changes over the run is a function of the place in it."""

    epochs: int
    batching: Batching
    num_classes: int  # C; further logits, of super-classes, come after the first C
    present: Tensor  # bool [C], classes with training images; no other one is ever predicted
    loss: SampleLoss
    class_weights: Callable[[int], Tensor]  # epoch -> [C]
    reduction: Reduction
    learning_rate: Callable[[int, int], float]  # step, total steps -> rate
    frozen_groups: Callable[[int], int]  # epoch -> layer groups of the backbone that rest
    sam_rho: float | None
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
        network: Network,
        optimizer: torch.optim.Optimizer,
        world: World,
        *,
        compiled: Callable[[Tensor], Tensor] | None = None,
        average: Any | None = None,
    ) -> None:
        self.recipe, self.network, self.optimizer, self.world = recipe, network, optimizer, world
        self.average = average
        self.compiled: Any = network if compiled is None else compiled
        self.forward: Any = self.compiled
        self.frozen_groups: int | None = None
        self.state = TrainingState()
        # Loss, hits and images since the last totals: on the device, where reading is waiting.
        self.absent = ~recipe.present.to(world.device)
        self.running = torch.zeros(3, dtype=torch.float64, device=world.device)
        self.best: dict[str, Tensor] = {}
        self.saved = -math.inf
        self.began = time.monotonic()  # earlier by what was spent in processes before this one

    def fit(
        self,
        train: ImageStore,
        val: ImageStore,
        *,
        checkpoint: Path,
        key: str,
        after_epoch: AfterEpoch = lambda history: None,
    ) -> Outcome:
        """Train, resuming from `checkpoint` if it is of the same `key`.

        `after_epoch` sees all epochs so far; what it raises ends the training.

        Raises:
            LongtailError: the loss is not finite any more.
            SystemExit: SIGTERM arrived; the checkpoint is written and the next call goes on.
        """
        self._restore(checkpoint, key)
        self.began = time.monotonic() - self.state.seconds
        with stop_on_sigterm() as stop:
            while self.state.epoch < self.recipe.epochs and not self._is_stale():
                if not self.train_epoch(train, should_stop=lambda: stop.arrived):
                    self._keep_totals()
                    self._save(checkpoint, key)
                    log.warning("stopped by SIGTERM; run the same command again to go on")
                    raise SystemExit(143)
                self._finish_epoch(val)
                self._tell()
                # Before the checkpoint: a run killed in between comes by these epochs again.
                after_epoch(self.state.history)
                if time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
                    self._save(checkpoint, key)
        return Outcome(self.state.best_epoch, self.best, self.state.history)

    def train_epoch(
        self, train: ImageStore, *, should_stop: Callable[[], bool] = lambda: False
    ) -> bool:
        """Train from the current step to the end of the epoch; False if a rank should stop before.

        One that should stop after the last step stops in the next epoch.
        """
        self._thaw()
        state = self.state
        epoch = Epoch(self.recipe.batching, train, number=state.epoch, processes=self.world)
        weights = self.recipe.class_weights(state.epoch).to(self.world.device)
        title = f"epoch {state.epoch + 1}/{self.recipe.epochs}"
        with progress(total=epoch.images(), what=title) as bar:
            bar.update(epoch.images(until=state.step))
            for batch in epoch.batches(start=state.step):
                self._train_step(batch, weights, len(epoch))
                bar.update(len(batch.all_labels))
                if self.world.sum(torch.tensor([float(should_stop())]))[0] > 0:
                    return state.step == len(epoch)
        return True

    def _thaw(self) -> None:
        """Set which layers train in this epoch."""
        groups = self.recipe.frozen_groups(self.state.epoch)
        if groups != self.frozen_groups:
            freeze(self.network.backbone, groups=groups)
            if self.frozen_groups is not None:
                torch.compiler.reset()  # graphs of all states together would pass its limit
            self.frozen_groups = groups
            if self.world.size > 1:
                # DDP decides at its construction which gradients it awaits.
                self.forward = DistributedDataParallel(self.compiled)
                self.forward.broadcast_buffers = False  # each rank keeps its own statistics
        self.network.train()
        rest(self.network.backbone)

    def _train_step(self, batch: Batch, weights: Tensor, steps_per_epoch: int) -> None:
        recipe, state = self.recipe, self.state
        step = state.epoch * steps_per_epoch + state.step
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate(step, recipe.epochs * steps_per_epoch)
        loss, logits = self._backward(batch, weights)
        # Now: of a compiled network on a GPU, the next pass overwrites the logits.
        hits = (self._predict(logits) == batch.labels).sum()
        if recipe.sam_rho is not None:
            descend = ascend(self.network, rho=recipe.sam_rho)
            with still_statistics(self.network):
                self._backward(batch, weights)
            descend()
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, step=step + 1)
        self.running[0].add_(loss.double() / self.world.size * len(batch.all_labels))
        self.running[1].add_(hits)
        self.running[2].add_(len(batch.labels))
        state.step += 1

    def _backward(self, batch: Batch, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Set the gradients; return this rank's loss, which the ranks average, and its logits."""
        place = (self.state.epoch, self.state.step, self.world.rank)
        torch.manual_seed(mixed_seed(self.recipe.batching.seed, Use.NOISE, *place))
        with self._autocast():
            logits: Tensor = self.forward(batch.inputs)
        scores = logits.float()
        summed = batch.share * self._summed_loss(scores, batch.labels, weights)
        if batch.share < 1:
            other = batch.labels[batch.partners]
            summed = summed + (1 - batch.share) * self._summed_loss(scores, other, weights)
        # DDP averages the gradients over the ranks; the mean is over the batch of all of them.
        by_weight = self.recipe.reduction == "weighted_mean"
        total = weights[batch.all_labels].sum() if by_weight else len(batch.all_labels)
        loss = summed * self.world.size / total
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        return loss.detach(), scores.detach()

    def _summed_loss(self, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        return (weights[labels] * self.recipe.loss(logits, labels)).sum()

    def _finish_epoch(self, val: ImageStore) -> None:
        state = self.state
        loss_sum, correct, seen = self._totals()
        evaluated = self.network if self.average is None else self.average.module
        # BatchNorm's statistics are each rank's own, in the average too.
        self.world.synchronize_buffers(evaluated)
        numbers = self.evaluate(evaluated, val)
        if not all(map(math.isfinite, (loss_sum, *numbers.values()))):
            raise LongtailError(
                f"the loss is not finite in epoch {state.epoch + 1}: training diverged; lower "
                "represent.learning_rate or represent.weight_decay, or lengthen the warm-up"
            )
        state.history.append(
            {
                "epoch": state.epoch,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "frozen_groups": self.recipe.frozen_groups(state.epoch),
                "train_loss": loss_sum / seen,
                "train_accuracy": correct / seen,
                **numbers,
            }
        )
        if numbers["val_balanced_accuracy"] > state.best_score:
            state.best_score = numbers["val_balanced_accuracy"]
            state.best_epoch = state.epoch
            self.best = {k: v.detach().cpu().clone() for k, v in evaluated.state_dict().items()}
        state.start_epoch(state.epoch + 1)

    def _spent(self) -> float:
        """Return the seconds of this training, in this process and those before it."""
        return time.monotonic() - self.began

    def _tell(self) -> None:
        """Log the epoch that has ended."""
        if self.world.rank > 0:
            return
        entry = self.state.history[-1]
        pace = self._spent() / self.state.epoch
        log.info(
            "epoch %d of %d: loss %.3f; val: loss %.3f, balanced accuracy %.1f %%; %.0f min to go",
            self.state.epoch,
            self.recipe.epochs,
            entry["train_loss"],
            entry["val_loss"],
            100 * entry["val_balanced_accuracy"],
            pace * (self.recipe.epochs - self.state.epoch) / 60,
        )

    @torch.no_grad()
    def evaluate(self, network: nn.Module, val: ImageStore) -> dict[str, float]:
        """Return loss and scores of the network on val, `val_loss` and those of `val_scores`."""
        network.eval()
        mine = torch.arange(len(val))[self.world.share(val.labels)]
        logits = []
        how = self.recipe.batching
        for images in val.stream(torch.split(mine, 4 * how.batch_size)):
            inputs = normalize(images.to(self.world.device), mean=how.mean, std=how.std)
            with self._autocast():
                logits.append(network(inputs).float().cpu())
        scores = self.world.gather(torch.cat(logits))  # [N, C]
        known = self.recipe.present[val.labels]
        device = self.world.device  # where the loss has its counts
        losses = self.recipe.loss(scores[known].to(device), val.labels[known].to(device))
        return {
            "val_loss": losses.mean().item(),
            **val_scores(self._predict(scores), val.labels, num_classes=self.recipe.num_classes),
        }

    def _predict(self, logits: Tensor) -> Tensor:
        """Return the class of the largest logit, as the saved head does."""
        classes = logits[:, : self.recipe.num_classes]
        # On a CPU, torch's max is fifty times faster than its argmax.
        return classes.masked_fill(self.absent.to(classes.device), -torch.inf).max(dim=1).indices

    def _totals(self) -> Iterator[float]:
        state = self.state
        before = torch.tensor([state.loss_sum, state.correct, state.seen], dtype=torch.float64)
        sums = before + self.running.cpu()
        self.running.zero_()
        return iter(self.world.sum(sums).tolist())

    def _is_stale(self) -> bool:
        patience = self.recipe.early_stopping
        return patience is not None and self.state.epoch - 1 - self.state.best_epoch >= patience

    def _autocast(self) -> torch.autocast:
        precision = self.recipe.precision
        return torch.autocast(
            self.world.device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16
        )

    def _keep_totals(self) -> None:
        """Note the totals of a begun epoch in the state; rank 0 holds those of all ranks."""
        self.state.loss_sum, self.state.correct, self.state.seen = self._totals()

    def _save(self, path: Path, key: str) -> None:
        if self.world.rank > 0:
            return
        tensors = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "best": self.best,
        }
        self.state.seconds = self._spent()
        save_checkpoint(path, key=key, state=self.state, tensors=tensors)
        self.saved = time.monotonic()

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
        spent_before(self.state.seconds)
        if self.world.rank > 0:
            self.state.loss_sum = self.state.correct = self.state.seen = 0.0
        log.warning("going on from epoch %d, step %d", self.state.epoch + 1, self.state.step)
