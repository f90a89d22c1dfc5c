"""Tau-normalisation: rows of a linear classifier divided by a power of their length."""

from dataclasses import dataclass

import torch
from torch import Tensor


def tau_normalize(weight: Tensor, *, tau: float) -> Tensor:
    """Divide each row by its length to the power `tau`, `w_j / ||w_j||^tau`.

    `tau = 0` leaves the rows as they are, `tau = 1` gives unit rows; a row of zeros stays zero. The
    bias of the classifier is dropped by the caller.

    Args:
        weight: `[C, D]`. tau: 0 or more.

    Returns:
        `[C, D]`.

    Source: Kang et al., Decoupling Representation and Classifier (ICLR 2020), eq. 6.
    """
    lengths = weight.norm(dim=1, keepdim=True)  # [C, 1]
    return torch.where(lengths > 0, weight * lengths.clamp(min=1e-30) ** -tau, weight)


@dataclass(frozen=True)
class CurvePoint:
    """Predictions on val at one tau."""

    tau: float
    predictions: Tensor  # int64 [N]


def tau_grid(*, max_tau: float, steps: int) -> list[float]:
    """Return `steps` even values from 0 to `max_tau`, both included."""
    return [round(max_tau * step / (steps - 1), 10) for step in range(steps)]


def tau_curve(features: Tensor, weight: Tensor, *, taus: list[float]) -> list[CurvePoint]:
    """Predict with every tau at the cost of one matrix product.

    `x . w_j / ||w_j||^tau = (x . w_j / ||w_j||) * ||w_j||^(1 - tau)`: the first factor is the same
    for every tau, the second is one number a class.

    Args:
        features: `[N, D]`. weight: `[C, D]`. taus: values of the grid.
    """
    lengths = weight.norm(dim=1).clamp(min=1e-30)  # [C]
    by_unit_rows = features @ (weight / lengths[:, None]).T  # [N, C]
    return [CurvePoint(tau, (by_unit_rows * lengths ** (1 - tau)).argmax(dim=1)) for tau in taus]
