"""A part of the training images of every class that is held out."""

import torch
from torch import Tensor


def held_out(labels: Tensor, *, share: float, generator: torch.Generator) -> Tensor:
    """Choose about `share` of the images of every class, so that both parts keep the long tail.

    Of `n` images `round(share * n)` are held out, but of two or more at least one, and never all.
    A class with a single image keeps it.

    Args:
        labels: int64 `[N]`. share: in 0..1. generator: source of randomness.

    Returns:
        bool `[N]`, true where held out.
    """
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        images = (labels == label).nonzero().squeeze(1)
        size = len(images)
        count = min(max(round(share * size), 1), size - 1)
        chosen[images[torch.randperm(size, generator=generator)[:count]]] = True
    return chosen
