"""A part of the training images of every class that is held out."""

import torch
from torch import Tensor


def held_out(labels: Tensor, *, copies: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Choose about `share` of the images of every class, so that both parts keep the long tail.

    Of `n` different images `round(share * n)` are held out, but of two or more at least one, and
    never all. A class with a single image keeps it. Exact duplicates stay together; those under
    several labels count for the class of the first, but no class of theirs is held out whole.

    Args:
        labels: int64 `[N]`. copies: int64 `[N]`, equal for exact duplicates, counted from 0 by
            first appearance. share: in 0..1. generator: source of randomness.

    Returns:
        bool `[N]`, true where held out.
    """
    positions = torch.arange(len(labels))
    images = int(copies.max()) + 1
    first = positions.new_empty(images).scatter_reduce_(
        0, copies, positions, "amin", include_self=False
    )
    chosen = torch.zeros(images, dtype=torch.bool)
    for label in torch.unique(labels[first]):
        of_class = (labels[first] == label).nonzero().squeeze(1)
        size = len(of_class)
        count = min(max(round(share * size), 1), size - 1)
        chosen[of_class[torch.randperm(size, generator=generator)[:count]]] = True
    kept = torch.bincount(labels[~chosen[copies]], minlength=int(labels.max()) + 1)
    chosen[copies[kept[labels] == 0]] = False
    return chosen[copies]
