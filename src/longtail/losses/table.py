"""From the name of a loss to its function."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from longtail.losses.sigmoid import bfs, sigmoid_cross_entropy, sigmoid_focal
from longtail.losses.softmax import (
    balanced_softmax,
    cross_entropy,
    focal,
    label_aware_smoothing,
    ldam,
    logit_adjusted,
    seql,
)

SampleLoss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "balanced_softmax": balanced_softmax,
    "logit_adjusted": logit_adjusted,
    "ldam": ldam,
    "seql": seql,
    "label_aware_smoothing": label_aware_smoothing,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "sigmoid_focal": sigmoid_focal,
    "bfs": bfs,
}


def loss_on_present(name: str, *, class_counts: Tensor, **settings: Any) -> SampleLoss:
    """Return a loss in which classes without training images take no part; theirs is 0.

    A logit that is only masked would enter label smoothing and LDAM's margins.
    """
    present = class_counts > 0
    if present.all():
        return build_loss(name, class_counts=class_counts, **settings)
    kept = present.nonzero().squeeze(1)
    place = torch.zeros_like(class_counts)
    place[kept] = torch.arange(len(kept), device=place.device)
    loss = build_loss(name, class_counts=class_counts[kept], **settings)

    def of_present(logits: Tensor, labels: Tensor) -> Tensor:
        return torch.where(present[labels], loss(logits[:, kept], place[labels]), 0.0)

    return of_present


def build_loss(name: str, *, class_counts: Tensor, **settings: Any) -> SampleLoss:
    """Return `(logits [N, C], labels [N]) -> [N]` with its settings and the counts it wants.

    Raises:
        KeyError: no loss has that name; configuration has refused it before.
    """
    loss = LOSSES[name]
    if "class_counts" in inspect.signature(loss).parameters:
        settings["class_counts"] = class_counts
    return partial(loss, **settings)
