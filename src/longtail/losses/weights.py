"""Class weights.

A weight belongs to a sample by its label, whatever the loss. `n_j` is the number of training images
of class `j`. Classes without images get the weight 0.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["weighted_mean", "batch_mean"]


def inverse_frequency_weights(class_counts: Tensor) -> Tensor:
    """Class weights `n / (C n_j)`, scikit-learn's `balanced`: `1 / pi_j` divided by `C`.

    Args:
        class_counts: `[C]`; `C` counts the classes that have images.

    Returns:
        float64 `[C]`; the mean over the training images is 1.
    """
    counts = class_counts.double()
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)


def effective_number_weights(class_counts: Tensor, *, beta: float) -> Tensor:
    """Class weights `1 / E_n`, `E_n = (1 - beta^n) / (1 - beta)`, normalised to sum to `C`,
    the number of classes that have images.

    `beta -> 0` gives equal weights, `beta -> 1` weights `1 / n`.

    Args:
        class_counts: `[C]`. beta: in 0..1, 1 excluded.

    Returns:
        float64 `[C]`.

    Source: Cui et al., Class-Balanced Loss (CVPR 2019), eq. 2 and 3; computed in float64 because
    `1 - beta^n` cancels in float32.
    """
    counts = class_counts.double()
    log_beta = torch.tensor(beta, dtype=torch.float64).log()
    # The constant (1 - beta) of E_n cancels in the normalisation.
    weights = torch.where(counts > 0, 1.0 / -torch.expm1(counts.clamp(min=1) * log_beta), 0.0)
    return weights * ((counts > 0).sum() / weights.sum())


CLASS_WEIGHTS: dict[str, Callable[..., Tensor]] = {
    "inverse_frequency": inverse_frequency_weights,
    "effective_number": effective_number_weights,
}
