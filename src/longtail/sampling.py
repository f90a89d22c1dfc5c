"""Which training images an epoch draws, and in what order.

An epoch is `N` draws, `N` the number of training images, whatever the sampler.
"""

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


def epoch_order(
    sampler: str,
    labels: Tensor,
    *,
    num_classes: int,
    epoch: int,
    epochs: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the positions that one epoch visits, int64 `[N]`.

    `instance` is a permutation (every image once); the others draw with replacement.
    """
    size = len(labels)
    if sampler == "instance":
        return torch.randperm(size, generator=generator)
    counts = torch.bincount(labels, minlength=num_classes)
    if sampler == "progressive":
        probabilities = progressive_probabilities(counts, epoch=epoch, epochs=epochs)
    else:
        probabilities = sampling_probabilities(counts, q=EXPONENTS[sampler])
    return draw(labels, probabilities, draws=size, generator=generator)


EXPONENTS = {"class_balanced": 0.0, "square_root": 0.5}
