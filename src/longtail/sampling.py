"""Which training images an epoch draws, and in what order.

An epoch is `N` draws, `N` the number of training images, except where the sampler is there to
change that number: `oversampling`, `undersampling`, `head_half` and `review`.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def sampling_probabilities(class_counts: Tensor, *, q: float) -> Tensor:
    """Probability of drawing each class, `p_j = n_j^q / sum_i n_i^q`.

    `q = 1` is instance-balanced, `q = 0` class-balanced, `q = 1/2` square-root sampling. A class
    without images has probability 0 for every `q`.

    Args:
        class_counts: training images a class, `[C]`.
        q: exponent in 0..1.

    Returns:
        float64 `[C]`, sums to 1.

    Source: Kang et al., Decoupling Representation and Classifier (ICLR 2020), eq. 1.
    """
    counts = class_counts.double()
    powers = torch.where(counts > 0, counts.clamp(min=1) ** q, 0.0)  # [C]
    return powers / powers.sum()


def progressive_probabilities(class_counts: Tensor, *, epoch: int, epochs: int) -> Tensor:
    """Shift from instance-balanced to class-balanced over the epochs, `(1 - s) p_IB + s p_CB`.

    `s = epoch / (epochs - 1)`, epochs from 0; a single epoch is instance-balanced.

    Returns:
        float64 `[C]`, sums to 1.

    Source: Kang et al. (ICLR 2020), eq. 2.
    """
    share = epoch / (epochs - 1) if epochs > 1 else 0.0
    instance = sampling_probabilities(class_counts, q=1.0)
    balanced = sampling_probabilities(class_counts, q=0.0)
    return (1 - share) * instance + share * balanced


def effective_number_probabilities(class_counts: Tensor, *, beta: float = 0.9999) -> Tensor:
    """Probability of drawing each class if an image has the weight `(1 - b) / (1 - b^(n_y))`.

    Not quite class-balanced: large classes keep a little more.

    Returns:
        float64 `[C]`, sums to 1.

    Source: the sampler of Cao et al., LDAM-DRW (NeurIPS 2019).
    """
    counts = class_counts.double()
    log_beta = torch.tensor(beta, dtype=torch.float64).log()
    weights = counts / -torch.expm1(counts.clamp(min=1) * log_beta)
    return weights / weights.sum()


def draw(
    labels: Tensor, class_probabilities: Tensor, *, draws: int, generator: torch.Generator
) -> Tensor:
    """Draw image positions with replacement: a class by its probability, an image of it uniformly.

    Args:
        labels: int64 `[N]`.
        class_probabilities: `[C]`; a class with probability above 0 must have an image.
        draws: number of positions.
        generator: source of randomness.

    Returns:
        int64 `[draws]`, positions in `labels`.
    """
    counts = torch.bincount(labels, minlength=len(class_probabilities))  # [C]
    first = counts.cumsum(0) - counts  # [C], where each class starts once sorted
    by_class = labels.argsort(stable=True)  # [N]
    classes = torch.multinomial(
        class_probabilities.double(), draws, replacement=True, generator=generator
    )  # [draws]
    within = torch.rand(draws, generator=generator, dtype=torch.float64) * counts[classes]
    return by_class[first[classes] + within.long()]


def class_aware(
    labels: Tensor, *, in_a_row: int = 4, draws: int, generator: torch.Generator
) -> Tensor:
    """Shuffled cycles over the classes; of each, `in_a_row` images from its own shuffled cycle.

    Every class comes equally often, and every image of a class, up to one visit.

    Args:
        labels: int64 `[N]`. in_a_row: images of a class at a time. draws: number of positions.

    Returns:
        int64 `[draws]`, positions in `labels`.

    Source: Shen et al., Relay Backpropagation (ECCV 2016); `in_a_row` 4 as in Kang et al.'s code.
    """
    classes = torch.unique(labels)
    visits = -(-draws // in_a_row)
    visited = _cycle(classes, visits, generator)  # [V]
    num_classes = int(classes[-1]) + 1
    order = torch.empty(visits, in_a_row, dtype=torch.int64)
    for images, mine in zip(
        _by_class(labels, num_classes), _by_class(visited, num_classes), strict=True
    ):
        order[mine] = _cycle(images, len(mine) * in_a_row, generator).view(-1, in_a_row)
    return order.flatten()[:draws]


def fill_classes(labels: Tensor, *, sizes: Tensor, generator: torch.Generator) -> Tensor:
    """Take `sizes[j]` images of class `j`, each equally often up to one, and shuffle all of them.

    With the largest count for every class this is oversampling, with the smallest undersampling.

    Args:
        labels: int64 `[N]`. sizes: int64 `[C]`; 0 for a class without images.

    Returns:
        int64 `[sum of sizes]`, positions in `labels`.
    """
    parts = [
        _cycle(images, size, generator)
        for images, size in zip(_by_class(labels, len(sizes)), sizes.tolist(), strict=True)
        if size
    ]
    order = torch.cat(parts)
    return order[torch.randperm(len(order), generator=generator)]


def head_half_sizes(class_counts: Tensor) -> Tensor:
    """Images of the larger half of the classes, none of the others; int64 `[C]`.

    Stage 1 of Data Balanced Review. Of the `C` classes that have images the head has `C // 2`, at
    least one; equal counts by label.
    """
    return torch.where(_is_head(class_counts), class_counts, 0)


def review_sizes(class_counts: Tensor) -> Tensor:
    """All images of the smaller half of the classes, `n_(m+1)` of each head class; int64 `[C]`.

    Stage 2 of Data Balanced Review: `m` head classes, so `n_(m+1)` is the largest of the tail.
    """
    head = _is_head(class_counts)
    tail = class_counts[~head & (class_counts > 0)]
    return torch.where(head, tail.max(), class_counts) if len(tail) else class_counts


def epoch_order(
    sampler: str,
    labels: Tensor,
    *,
    num_classes: int,
    epoch: int,
    epochs: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the positions that one epoch visits, int64; `sampler` is a name of `SAMPLERS`."""
    counts = torch.bincount(labels, minlength=num_classes)
    return SAMPLERS[sampler](labels, counts, epoch, epochs, generator)


def _by_class(labels: Tensor, num_classes: int) -> tuple[Tensor, ...]:
    """Positions of each class's labels, ascending."""
    counts = torch.bincount(labels, minlength=num_classes).tolist()
    return torch.split(labels.argsort(stable=True), counts)


def _cycle(values: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Permutations of `values`, one after the other, cut to `length`."""
    rounds = -(-length // max(1, len(values)))
    parts = [values[torch.randperm(len(values), generator=generator)] for _ in range(rounds)]
    return torch.cat(parts)[:length] if parts else values[:0]


def _is_head(class_counts: Tensor) -> Tensor:
    largest_first = class_counts.argsort(descending=True, stable=True)
    present = int((class_counts > 0).sum())
    head = torch.zeros(len(class_counts), dtype=torch.bool)
    head[largest_first[: max(1, present // 2)]] = True
    return head


def _drawn(probabilities: Callable[[Tensor, int, int], Tensor]) -> "Sampler":
    def order(
        labels: Tensor, counts: Tensor, epoch: int, epochs: int, g: torch.Generator
    ) -> Tensor:
        return draw(labels, probabilities(counts, epoch, epochs), draws=len(labels), generator=g)

    return order


def _filled(sizes: Callable[[Tensor], Tensor]) -> "Sampler":
    def order(
        labels: Tensor, counts: Tensor, epoch: int, epochs: int, g: torch.Generator
    ) -> Tensor:
        return fill_classes(labels, sizes=sizes(counts), generator=g)

    return order


# Labels, images a class, epoch, epochs, generator -> positions.
Sampler = Callable[[Tensor, Tensor, int, int, torch.Generator], Tensor]
SAMPLERS: dict[str, Sampler] = {
    "instance": lambda labels, n, t, T, g: torch.randperm(len(labels), generator=g),
    "class_balanced": _drawn(lambda n, t, T: sampling_probabilities(n, q=0.0)),
    "square_root": _drawn(lambda n, t, T: sampling_probabilities(n, q=0.5)),
    "progressive": _drawn(lambda n, t, T: progressive_probabilities(n, epoch=t, epochs=T)),
    "effective_number": _drawn(lambda n, t, T: effective_number_probabilities(n)),
    "class_aware": lambda labels, n, t, T, g: class_aware(labels, draws=len(labels), generator=g),
    "oversampling": _filled(lambda n: torch.where(n > 0, n.max(), 0)),
    "undersampling": _filled(lambda n: torch.where(n > 0, n[n > 0].min(), 0)),
    "head_half": _filled(head_half_sizes),
    "review": _filled(review_sizes),
}
