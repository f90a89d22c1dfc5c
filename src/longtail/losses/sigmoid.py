"""Losses of one sigmoid a class, and the loss that joins both kinds.

Each column of the logits is a yes-no question of its own; `p^t` is the probability of its true
answer, `sigmoid(z)` for the true class and `sigmoid(-z)` for the others. Every function returns the
sum over the columns, `[N]`. The head's bias should start at `-log(C - 1)` and not be decayed: with
zeros, the C - 1 wrong classes of each image would drown the right one at the start.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.losses.softmax import balanced_softmax


def sigmoid_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy summed over the classes, `sum_j -log p_j^t`.

    Args:
        logits: `[N, C]`. labels: `[N]`.

    Source: Cui et al., Class-Balanced Loss (CVPR 2019), section 4.2.
    """
    return F.softplus(-_towards_truth(logits, labels)).sum(dim=1)


def sigmoid_focal(logits: Tensor, labels: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Focal loss of sigmoids, `sum_j (1 - p_j^t)^g (-log p_j^t)`; `gamma = 0`: no focus.

    Args:
        logits: `[N, C]`. labels: `[N]`. gamma: `g`, 0 or more.

    Source: Lin et al., Focal Loss (ICCV 2017), eq. 4; Cui et al. (CVPR 2019), section 4.3.
    """
    truth = _towards_truth(logits, labels)
    modulator = torch.exp(gamma * F.logsigmoid(-truth))  # (1 - p^t)^g without cancellation
    return (modulator * F.softplus(-truth)).sum(dim=1)


def bfs(
    logits: Tensor,
    labels: Tensor,
    *,
    class_counts: Tensor,
    alpha: float = 0.1,
    beta: float = 0.9999,
    gamma: float = 2.0,
) -> Tensor:
    """Balanced focal softmax: class-balanced sigmoid focal loss and balanced softmax, mixed.

    `a (1 - b) / (1 - b^(n_y)) sum_j (1 - p_j^t)^g (-log p_j^t) + (1 - a) balanced_softmax`. The
    class weight is as it stands, not normalised to sum to `C`. `alpha = 0` is balanced softmax.
    Together with weight decay on the head it is BWLM.

    Args:
        logits: `[N, C]`. labels: `[N]`. class_counts: `[C]`.
        alpha: `a`. beta: `b`. gamma: `g`; the paper gives neither `b` nor `g`, so Cui's are used.

    Source: the paper on the Balanced Weight Learning Mechanism, eq. 13.
    """
    counts = class_counts.double().clamp(min=1)
    weights = (1 - beta) / -torch.expm1(counts * torch.tensor(beta, dtype=torch.float64).log())
    balanced_focal = weights.to(logits)[labels] * sigmoid_focal(logits, labels, gamma=gamma)
    plain = balanced_softmax(logits, labels, class_counts=class_counts)
    return alpha * balanced_focal + (1 - alpha) * plain


def _towards_truth(logits: Tensor, labels: Tensor) -> Tensor:
    """`z` at the true class, `-z` elsewhere, `[N, C]`."""
    true = F.one_hot(labels, logits.shape[1]) == 1
    return torch.where(true, logits, -logits)
