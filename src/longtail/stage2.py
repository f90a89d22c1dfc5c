"""Stage 2: balanced classifiers trained on the cached features of a frozen backbone.

The backbone is not here at all, so neither its weights nor its BatchNorm statistics can move.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.errors import LongtailError
from longtail.heads import Head, known_labels
from longtail.losses.softmax import cross_entropy
from longtail.losses.table import SampleLoss
from longtail.losses.weights import effective_number_weights
from longtail.metrics import val_scores
from longtail.sampling import epoch_order
from longtail.schedules import cosine_factor


@dataclass(frozen=True)
class Labelled:
    """Features `[V, N, D]` in V views, and labels `[N]`."""

    features: Tensor
    labels: Tensor

    def counts(self, num_classes: int) -> Tensor:
        """Images a class, int64 `[C]`."""
        return torch.bincount(self.labels, minlength=num_classes)


@dataclass(frozen=True)
class Training:
    """How long and how fast a head trains; `sampler` is a name of `longtail.sampling.SAMPLERS`."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    sampler: str
    generator: torch.Generator


@dataclass(frozen=True)
class Fitted:
    """A stage-2 head, the epoch that val chose, and every epoch's numbers.

    Without epochs, as for class means, `best_epoch` is None and `history` empty. `tau` is what val
    chose for a logit adjustment. `follows_counts`: whether its probabilities are, at least roughly,
    for the shares of the training classes.
    """

    head: Head
    best_epoch: int | None
    history: list[dict[str, float]]
    tau: float | None = None
    follows_counts: bool = False


def crt(
    train: Labelled,
    val: Labelled,
    *,
    num_classes: int,
    training: Training,
    loss: SampleLoss = cross_entropy,
    bias_start: float | None = None,
) -> Fitted:
    """Classifier re-training: a fresh linear head, usually with class-balanced sampling.

    With the loss BFS, instance sampling and a strong weight decay it is the second stage of BWLM.

    Args:
        train, val: cached features. num_classes: `C`.
        training: the field uses the sampler `class_balanced`, or `instance` if the loss balances.
        loss: one value a sample, see `longtail.losses.table`.
        bias_start: of every bias, which then has no weight decay, as sigmoid losses want it.

    Source: Kang et al., Decoupling Representation and Classifier (ICLR 2020), section 4.2; the
    paper on the Balanced Weight Learning Mechanism, figure 2 and eq. 14.
    """
    bound = train.features.shape[2] ** -0.5  # as torch.nn.Linear starts
    weight = torch.empty(num_classes, train.features.shape[2])
    weight.uniform_(-bound, bound, generator=training.generator)
    bias = torch.zeros(num_classes).uniform_(-bound, bound, generator=training.generator)
    if bias_start is not None:
        bias.fill_(bias_start)
    absent = train.counts(num_classes) == 0
    weight.requires_grad_()
    bias.requires_grad_()
    return _fit(
        [weight, bias] if bias_start is None else [weight],
        lambda: Head("linear", weight, bias, absent=absent if absent.any() else None),
        train,
        val,
        loss=lambda logits, labels: loss(logits, labels).mean(),
        training=training,
        undecayed=[] if bias_start is None else [bias],
    )


def lws(stage1: Head, train: Labelled, val: Labelled, *, training: Training) -> Fitted:
    """Learnable weight scaling: `f_j * (w_j . x + b_j)`, only the scales `f` train, from 1.

    `stage1` must be linear.

    Source: Kang et al. (ICLR 2020), section 4.2, eq. 7.
    """
    assert stage1.kind == "linear"
    scales = torch.ones(len(stage1.weight), requires_grad=True)

    def build() -> Head:
        bias = None if stage1.bias is None else scales * stage1.bias
        return replace(stage1, weight=scales[:, None] * stage1.weight, bias=bias)

    return _fit([scales], build, train, val, loss=_plain, training=training)


def max_norm(stage1: Head, train: Labelled, val: Labelled, *, training: Training) -> Fitted:
    """Fine-tune the stage-1 head while limiting the length of its rows.

    Class-balanced cross-entropy with weight decay; after each epoch rows longer than the radius are
    projected onto it. The radius is fixed once, `min + 0.1 (max - min)` of the stage-1 row lengths
    of classes that have images; the bias is free. `stage1` must be linear.

    Source: Alshammari et al., Long-Tailed Recognition via Weight Balancing (CVPR 2022), section 4.
    """
    assert stage1.kind == "linear"
    counts = train.counts(len(stage1.weight))
    lengths = stage1.weight[counts > 0].norm(dim=1)
    radius = float(lengths.min() + 0.1 * (lengths.max() - lengths.min()))
    weight = stage1.weight.clone()
    bias = torch.zeros(len(weight)) if stage1.bias is None else stage1.bias.clone()
    class_weights = effective_number_weights(counts, beta=0.9999)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, weight=class_weights.to(logits))

    def project() -> None:
        with torch.no_grad():
            weight.copy_(project_rows(weight, radius=radius))

    weight.requires_grad_()
    bias.requires_grad_()
    return _fit(
        [weight, bias],
        lambda: replace(stage1, weight=weight, bias=bias),
        train,
        val,
        loss=loss,
        training=training,
        after_epoch=project,
    )


def project_rows(weight: Tensor, *, radius: float) -> Tensor:
    """Shorten rows of `[C, D]` that are longer than `radius` to it; leave the others."""
    lengths = weight.norm(dim=1, keepdim=True)
    return torch.where(lengths > radius, weight * (radius / lengths.clamp(min=1e-30)), weight)


def val_metrics(head: Head, val: Labelled) -> dict[str, float]:
    """Return loss, accuracy and balanced accuracy of a head on the plain view of val."""
    logits = head.logits(val.features[0])
    known = known_labels(logits, val.labels)
    return {
        "val_loss": F.cross_entropy(logits[known], val.labels[known]).item()
        if known.any()
        else 0.0,
        **val_scores(logits.max(dim=1).indices, val.labels, num_classes=logits.shape[1]),
    }


def _plain(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits, labels).mean()


def _fit(
    parameters: list[Tensor],
    build: Callable[[], Head],
    train: Labelled,
    val: Labelled,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    training: Training,
    after_epoch: Callable[[], None] = lambda: None,
    undecayed: Sequence[Tensor] = (),
) -> Fitted:
    """SGD with momentum 0.9 and a cosine to 0; the best epoch by balanced accuracy on val.

    Raises:
        LongtailError: a number of an epoch is not finite any more.
    """
    optimizer = torch.optim.SGD(
        [
            {"params": parameters, "weight_decay": training.weight_decay},
            *([{"params": undecayed, "weight_decay": 0.0}] if undecayed else []),
        ],
        lr=training.learning_rate,
        momentum=0.9,
    )
    best, best_epoch, best_score = build(), -1, -1.0
    history: list[dict[str, float]] = []
    for epoch in range(training.epochs):
        numbers = _train_epoch(optimizer, build, train, loss=loss, training=training, epoch=epoch)
        after_epoch()
        head = _detached(build())
        history.append({"epoch": epoch, **numbers, **val_metrics(head, val)})
        if not all(map(math.isfinite, history[-1].values())):
            raise LongtailError(
                f"stage 2 diverged: its loss is not finite in epoch {epoch + 1}; lower "
                "classify.learning_rate or classify.weight_decay"
            )
        if history[-1]["val_balanced_accuracy"] > best_score:
            best, best_epoch = head, epoch
            best_score = history[-1]["val_balanced_accuracy"]
    return Fitted(best, best_epoch, history)


def _train_epoch(
    optimizer: torch.optim.Optimizer,
    build: Callable[[], Head],
    train: Labelled,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    training: Training,
    epoch: int,
) -> dict[str, float]:
    batches = _batches(train, training, num_classes=len(build().weight), epoch=epoch)
    seen = sum(len(images) for _, images in batches)
    loss_sum = correct = 0.0
    for step, (views, images) in enumerate(batches):
        labels = train.labels[images]
        logits = build().logits(train.features[views, images])
        value = loss(logits, labels)
        factor = cosine_factor(
            epoch * len(batches) + step,
            total_steps=training.epochs * len(batches),
            warmup_steps=0,
            min_ratio=0.0,
        )
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * factor
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        optimizer.step()
        loss_sum += value.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
    return {"train_loss": loss_sum / seen, "train_accuracy": correct / seen}


def _batches(
    train: Labelled, training: Training, *, num_classes: int, epoch: int
) -> list[tuple[Tensor, Tensor]]:
    """Views and positions of the features of each step."""
    order = epoch_order(
        training.sampler,
        train.labels,
        num_classes=num_classes,
        epoch=epoch,
        epochs=training.epochs,
        generator=training.generator,
    )
    views = torch.randint(len(train.features), order.shape, generator=training.generator)
    parts = (torch.split(tensor, training.batch_size) for tensor in (views, order))
    return list(zip(*parts, strict=True))


def _detached(head: Head) -> Head:
    bias = None if head.bias is None else head.bias.detach().clone()
    return replace(head, weight=head.weight.detach().clone(), bias=bias)
