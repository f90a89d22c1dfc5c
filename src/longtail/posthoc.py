"""Changes of a trained head without training: priors, temperature, rejection."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.heads import ABSENT, Head, known_labels
from longtail.metrics import balanced_accuracy

GRID = 200  # thresholds that are tried at most


def adjust_logits(head: Head, class_counts: Tensor, *, tau: float) -> Head:
    """Subtract `tau log pi` from the logits of a linear head; `tau = 0` leaves them.

    Only for heads that were trained with plain cross-entropy: the balanced losses have taken the
    prior out already. A class without images becomes absent.

    Args:
        head: linear. class_counts: training images, `[C]`. tau: 0 or more.

    Source: Menon et al., Long-tail Learning via Logit Adjustment (ICLR 2021), eq. 9.
    """
    assert head.kind == "linear"
    present = class_counts > 0
    prior = class_counts.to(head.weight) / class_counts.sum()
    shift = torch.where(present, prior.clamp(min=1e-30).log(), 0.0)
    bias = torch.zeros(len(head.weight)) if head.bias is None else head.bias
    absent = head.absent if present.all() else ~present
    return replace(head, bias=bias - tau * shift / head.scale, absent=absent)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature `T` that minimises the cross-entropy of `z / T`.

    The loss is convex in `1 / T`, so its slope is bisected, for `T` in 0.05..20. Images of absent
    classes, whose logits are astronomically low, are left out; 1 if there are no others.

    Args:
        logits: `[N, C]`. labels: `[N]`; of val, never of test.

    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), section 4.2.
    """
    known = known_labels(logits, labels)
    if not known.any():
        return 1.0
    z, labels = logits[known].double(), labels[known]

    def slope(inverse: float) -> float:
        inverse_t = torch.tensor(inverse, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(z * inverse_t, labels), inverse_t)
        return float(gradient)

    low, high = 1 / 20, 1 / 0.05
    for _ in range(60):  # bisection on a monotone slope: 60 halvings exhaust float64
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / low


def rejection_threshold(
    logits: Tensor, labels: Tensor, *, novel: int, false_rejections: float
) -> float:
    """Return the probability below which an image is assigned to the class `novel`.

    If val has images of that class, the threshold with the best balanced accuracy; else the one
    that rejects the share `false_rejections` of val.

    Args:
        logits: `[N, C]`. labels: `[N]`; of val, never of test. novel: label of the novel class.
    """
    known = logits.masked_fill(torch.arange(logits.shape[1]) == novel, ABSENT)
    confidences, predictions = known.double().softmax(dim=1).max(dim=1)
    if not (labels == novel).any():
        return float(confidences.quantile(false_rejections))
    candidates = torch.cat([torch.unique(confidences), torch.ones(1, dtype=torch.float64)])
    if len(candidates) > GRID:
        candidates = candidates.quantile(torch.linspace(0, 1, GRID, dtype=torch.float64))
    scores = [
        balanced_accuracy(
            torch.where(confidences < threshold, novel, predictions).numpy(),
            labels.numpy(),
            num_classes=logits.shape[1],
        )
        for threshold in candidates
    ]
    return float(candidates[scores.index(max(scores))])


def with_temperature(head: Head, temperature: float) -> Head:
    """Divide the logits of a head by a temperature; no prediction changes."""
    return replace(head, scale=head.scale / temperature)
