"""Stage 2: balanced classifiers on the cached features of a frozen backbone.

The backbone is not here at all, so neither its weights nor its BatchNorm statistics can move.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.heads import Head
from longtail.losses import cross_entropy
from longtail.metrics import balanced_accuracy
from longtail.sampling import draw, sampling_probabilities
from longtail.schedules import cosine_factor


@dataclass(frozen=True)
class Labelled:
    """Features `[V, N, D]` in V views, and labels `[N]`."""

    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Fitted:
    """A stage-2 head, the epoch that val chose, and every epoch's numbers; NCM has no epochs."""

    head: Head
    best_epoch: int | None
    history: list[dict[str, float]]


def crt(
    train: Labelled,
    val: Labelled,
    *,
    num_classes: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    generator: torch.Generator,
) -> Fitted:
    """Classifier re-training: a fresh linear head with class-balanced sampling.

    Source: Kang et al., Decoupling Representation and Classifier (ICLR 2020), section 4.2.
    """
    bound = train.features.shape[2] ** -0.5  # as torch.nn.Linear starts
    weight = torch.empty(num_classes, train.features.shape[2])
    weight.uniform_(-bound, bound, generator=generator).requires_grad_()
    bias = torch.zeros(num_classes).uniform_(-bound, bound, generator=generator).requires_grad_()
    return _fit(
        [weight, bias],
        lambda: Head("linear", weight, bias),
        train,
        val,
        num_classes=num_classes,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        generator=generator,
    )


def lws(
    stage1: Head,
    train: Labelled,
    val: Labelled,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
) -> Fitted:
    """Learnable weight scaling: `f_j * (w_j . x + b_j)`, only the scales `f` train, from 1.

    `stage1` must be linear.

    Source: Kang et al. (ICLR 2020), section 4.2, eq. 7.
    """
    assert stage1.kind == "linear" and stage1.bias is not None
    weight, bias = stage1.weight, stage1.bias
    scales = torch.ones(len(weight), requires_grad=True)
    return _fit(
        [scales],
        lambda: Head("linear", scales[:, None] * weight, scales * bias),
        train,
        val,
        num_classes=len(weight),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=0.0,
        generator=generator,
    )


def ncm(
    train: Labelled,
    *,
    num_classes: int,
    features: Literal["cl2n", "l2n", "none"],
    distance: Literal["euclidean", "cosine"],
) -> Head:
    """Nearest class mean of the training features, all views averaged.

    `cl2n` subtracts the global training mean and L2-normalises each feature before averaging, `l2n`
    only normalises. With the cosine distance the class means are normalised too. A class without
    images is put far away.

    Source: Kang et al. (ICLR 2020), section 4.2; CL2N: Wang et al., SimpleShot (2019), section 3.
    """
    flat = train.features.flatten(0, 1)  # [V * N, D]
    labels = train.labels.repeat(len(train.features))
    center = flat.mean(dim=0) if features == "cl2n" else None
    plain = Head("ncm", flat[:1], center=center, normalize=features != "none")
    prepared = plain.prepare(flat)
    sums = torch.zeros(num_classes, flat.shape[1]).index_add_(0, labels, prepared)
    counts = torch.bincount(labels, minlength=num_classes)[:, None]  # [C, 1]
    means = torch.where(counts > 0, sums / counts.clamp(min=1), 1e6)
    return Head(
        kind="ncm" if distance == "euclidean" else "cosine",
        weight=means,
        center=center,
        normalize=plain.normalize,
    )


def _fit(
    parameters: list[Tensor],
    build: Callable[[], Head],
    train: Labelled,
    val: Labelled,
    *,
    num_classes: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    generator: torch.Generator,
) -> Fitted:
    """SGD with momentum 0.9 and a cosine to 0; the best epoch by balanced accuracy on val."""
    optimizer = torch.optim.SGD(
        parameters, lr=learning_rate, momentum=0.9, weight_decay=weight_decay
    )
    views, size, _ = train.features.shape
    counts = torch.bincount(train.labels, minlength=num_classes)
    balanced = sampling_probabilities(counts, q=0.0)
    steps = -(-size // batch_size)
    best, best_epoch, best_score = build(), -1, -1.0
    history: list[dict[str, float]] = []
    for epoch in range(epochs):
        order = draw(train.labels, balanced, draws=size, generator=generator)
        view = torch.randint(views, (size,), generator=generator)
        loss_sum = correct = 0.0
        for step in range(steps):
            part = slice(step * batch_size, (step + 1) * batch_size)
            labels = train.labels[order[part]]
            logits = build().logits(train.features[view[part], order[part]])
            loss = cross_entropy(logits, labels).mean()
            optimizer.param_groups[0]["lr"] = learning_rate * cosine_factor(
                epoch * steps + step, total_steps=epochs * steps, warmup_steps=0, min_ratio=0.0
            )
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        head = _detached(build())
        numbers = _on_val(head, val, num_classes=num_classes)
        means = {"train_loss": loss_sum / size, "train_accuracy": correct / size}
        history.append({"epoch": epoch, **means, **numbers})
        if numbers["val_balanced_accuracy"] > best_score:
            best, best_epoch, best_score = head, epoch, numbers["val_balanced_accuracy"]
    return Fitted(best, best_epoch, history)


def _on_val(head: Head, val: Labelled, *, num_classes: int) -> dict[str, float]:
    logits = head.logits(val.features[0])
    predictions = logits.argmax(1)
    return {
        "val_loss": F.cross_entropy(logits, val.labels).item(),
        "val_accuracy": (predictions == val.labels).double().mean().item(),
        "val_balanced_accuracy": balanced_accuracy(
            predictions.numpy(), val.labels.numpy(), num_classes=num_classes
        ),
    }


def _detached(head: Head) -> Head:
    bias = None if head.bias is None else head.bias.detach().clone()
    return Head(head.kind, head.weight.detach().clone(), bias)
