"""Losses for long-tailed classes: one value a sample; the caller weighs and averages.

`z` are logits `[N, C]`, `y` labels `[N]`, `n_j` the number of training images of class `j`.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SampleLoss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy `-log p_y`; logits `[N, C]`, labels `[N]` -> `[N]`."""
    return F.cross_entropy(logits, labels, reduction="none")


def balanced_softmax(logits: Tensor, labels: Tensor, *, class_counts: Tensor) -> Tensor:
    """Cross-entropy of `z + log n`, so that the plain `z` is unbiased on balanced data.

    A class without training images leaves the denominator. Inference uses `z` as it is. Equals the
    logit-adjusted loss with `tau = 1` (Menon et al. 2021): the two differ by a constant.

    Args:
        logits: `[N, C]`. labels: `[N]`. class_counts: `[C]`.

    Returns:
        `[N]`.

    Source: Ren et al., Balanced Meta-Softmax (NeurIPS 2020), eq. 4.
    """
    return cross_entropy(logits + class_counts.to(logits).log(), labels)


def ldam(
    cosines: Tensor,
    labels: Tensor,
    *,
    class_counts: Tensor,
    max_margin: float = 0.5,
    scale: float = 30.0,
) -> Tensor:
    """Label-distribution-aware margin: `CE(s * (cos - m_y at y))`, `m_j ~ n_j^(-1/4)`.

    The margin is on the true class alone and is taken off before scaling; the largest margin is
    `max_margin`. The thesis on losses for CIFAR-100-LT prints the margin on every class and no
    scale: a misprint.

    Args:
        cosines: cosine of feature and class weight, `[N, C]`. labels: `[N]`. class_counts: `[C]`.
        max_margin: margin of the rarest class. scale: `s`.

    Returns:
        `[N]`.

    Source: Cao et al., LDAM-DRW (NeurIPS 2019), eq. 10 to 13.
    """
    margins = class_counts.to(cosines).clamp(min=1) ** -0.25  # [C]
    margins = margins * (max_margin / margins.max())
    shift = F.one_hot(labels, cosines.shape[1]) * margins  # [N, C]
    return cross_entropy(scale * (cosines - shift), labels)


def effective_number_weights(class_counts: Tensor, *, beta: float) -> Tensor:
    """Class weights `1 / E_n`, `E_n = (1 - beta^n) / (1 - beta)`, normalised to sum to `C`.

    `beta -> 0` gives equal weights, `beta -> 1` weights `1 / n`. Classes without images get 0.

    Args:
        class_counts: `[C]`. beta: in 0..1, 1 excluded.

    Returns:
        float64 `[C]`.

    Source: Cui et al., Class-Balanced Loss (CVPR 2019), eq. 2 and 3; computed in float64 because
    `1 - beta^n` cancels in float32.
    """
    counts = class_counts.double()
    # The constant (1 - beta) of E_n cancels in the normalisation.
    weights = torch.where(counts > 0, 1.0 / -torch.expm1(counts.clamp(min=1) * _log(beta)), 0.0)
    return weights * (len(counts) / weights.sum())


def weighted_mean(losses: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """Average `[N]` losses by the weight of each label, divided by the sum of those weights.

    This is torch's `mean` of a weighted cross-entropy; on balanced data it equals the plain mean.
    """
    weights = class_weights.to(losses)[labels]
    return (weights * losses).sum() / weights.sum()


def _log(beta: float) -> Tensor:
    return torch.tensor(beta, dtype=torch.float64).log()


LOSSES: dict[str, Callable[[Tensor], SampleLoss]] = {
    "cross_entropy": lambda counts: cross_entropy,
    "balanced_softmax": lambda counts: lambda z, y: balanced_softmax(z, y, class_counts=counts),
    "ldam": lambda counts: lambda z, y: ldam(z, y, class_counts=counts),
}
