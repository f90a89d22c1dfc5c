"""Tau-normalisation: rows of a linear classifier divided by a power of their length."""

from dataclasses import dataclass

import torch
from torch import Tensor

CACHED = 2**18  # so many logits are compared while they are in a core's cache


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


def tau_curve(
    features: Tensor, weight: Tensor, *, taus: list[float], absent: Tensor | None = None
) -> list[CurvePoint]:
    """Predict with every tau at the cost of one matrix product and a few passes over its result.

    `x . w_j / ||w_j||^tau = a_j ||w_j||^(1 - tau)`; `a_j = x . w_j / ||w_j||` is the same for
    every tau. The logarithm of such a score is a straight line in tau, its sign never changes: so
    a class that wins at two taus wins at all between them. Only images whose winner differs are
    looked at again, in the middle of the interval.

    Args:
        features: `[N, D]`. weight: `[C, D]`. taus: values in ascending order.
        absent: bool `[C]`, classes that are never predicted, or None.
    """
    kept = torch.arange(len(weight)) if absent is None else (~absent).nonzero().squeeze(1)
    weight = weight[kept]
    lengths = weight.norm(dim=1).clamp(min=1e-30)  # [C]
    by_unit_rows = features @ (weight / lengths[:, None]).T  # [N, C]
    winners = torch.empty(len(taus), len(features), dtype=torch.int64)  # [T, N]
    for end in {0, len(taus) - 1}:
        winners[end] = _winners(by_unit_rows, lengths ** (1 - taus[end]))
    intervals = [(0, len(taus) - 1)]
    while intervals:
        low, high = intervals.pop()
        if high - low < 2:
            continue
        middle = (low + high) // 2
        open_images = (winners[low] != winners[high]).nonzero().squeeze(1)
        winners[middle] = winners[low]
        winners[middle, open_images] = _winners(
            by_unit_rows[open_images], lengths ** (1 - taus[middle])
        )
        intervals += [(low, middle), (middle, high)]
    return [CurvePoint(tau, kept[found]) for tau, found in zip(taus, winners, strict=True)]


def _winners(by_unit_rows: Tensor, factors: Tensor) -> Tensor:
    """Class of the largest score of each row, int64 `[N]`; part by part, to stay in the cache."""
    # On a CPU, torch's max is fifty times faster than its argmax.
    parts = torch.split(by_unit_rows, max(1, CACHED // len(factors)))
    return torch.cat([(part * factors).max(dim=1).indices for part in parts])
