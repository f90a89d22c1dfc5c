"""Losses of one softmax over all classes.

`z` are logits `[N, C]`, `y` labels `[N]`, `n_j` the number of training images of class `j`, and
`pi_j = n_j / sum n`. Every function returns one value a sample, `[N]`.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Softmax cross-entropy `(1 - e) (-log p_y) + e mean_k(-log p_k)`, `e` the label smoothing.

    Args:
        logits: `[N, C]`. labels: `[N]`. smoothing: `e`, 0 for the plain `-log p_y`.

    Source: smoothing: Szegedy et al., Rethinking the Inception Architecture (CVPR 2016), section 7.
    """
    return F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


def focal(logits: Tensor, labels: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Focal loss of a softmax, `(1 - p_y)^g (-log p_y)`; `gamma = 0` is cross-entropy.

    The gradient flows through `p_y`, which comes from the unweighted cross-entropy: class weights
    are applied by the caller, outside.

    Args:
        logits: `[N, C]`. labels: `[N]`. gamma: `g`, 0 or more.

    Source: Lin et al., Focal Loss for Dense Object Detection (ICCV 2017), eq. 4, with a softmax.
    """
    loss = cross_entropy(logits, labels)
    # 1 - p without cancellation; a floor, because the slope of x^g is infinite at 0 if g < 1.
    missing = -torch.expm1(-loss)
    return missing.clamp(min=torch.finfo(loss.dtype).tiny) ** gamma * loss


def balanced_softmax(logits: Tensor, labels: Tensor, *, class_counts: Tensor) -> Tensor:
    """Cross-entropy of `z + log n`, so that the plain `z` is unbiased on balanced data.

    A class without training images leaves the denominator. Inference uses `z` as it is. Equals the
    logit-adjusted loss with `tau = 1`: the two differ by a constant.

    Args:
        logits: `[N, C]`. labels: `[N]`. class_counts: `[C]`.

    Source: Ren et al., Balanced Meta-Softmax (NeurIPS 2020), eq. 4.
    """
    return cross_entropy(logits + class_counts.to(logits).log(), labels)


def logit_adjusted(
    logits: Tensor, labels: Tensor, *, class_counts: Tensor, tau: float = 1.0
) -> Tensor:
    """Cross-entropy of `z + tau log pi`; inference uses `z` as it is.

    `tau = 0` is cross-entropy, `tau = 1` balanced softmax. With `tau > 0` a class without training
    images leaves the denominator.

    Args:
        logits: `[N, C]`. labels: `[N]`. class_counts: `[C]`. tau: strength, 0 or more.

    Source: Menon et al., Long-tail Learning via Logit Adjustment (ICLR 2021), eq. 10.
    """
    if tau == 0:
        return cross_entropy(logits, labels)
    prior = class_counts.to(logits) / class_counts.sum()
    return cross_entropy(logits + tau * prior.log(), labels)


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

    Source: Cao et al., LDAM-DRW (NeurIPS 2019), eq. 10 to 13.
    """
    margins = class_counts.to(cosines).clamp(min=1) ** -0.25  # [C]
    margins = margins * (max_margin / margins.max())
    shift = F.one_hot(labels, cosines.shape[1]) * margins  # [N, C]
    return cross_entropy(scale * (cosines - shift), labels)


def seql(
    logits: Tensor,
    labels: Tensor,
    *,
    class_counts: Tensor,
    gamma: float = 0.9,
    rare_below: float = 0.005,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Softmax equalization loss: rare classes are pushed down by other images only now and then.

    `-z_y + log sum_k w_k e^(z_k)`, `w_k = 1 - b T(pi_k) (1 - y_k)`, with `b ~ Bernoulli(gamma)` for
    each sample and class, and `T(pi) = 1` if `pi < rare_below`. So `w_y = 1`, and the loss is never
    negative. The thesis on losses for CIFAR-100-LT prints `(1 - b T)(1 - y)`, which takes the true
    class out of the denominator: a misprint. `gamma = 0` is cross-entropy.

    Args:
        logits: `[N, C]`. labels: `[N]`. class_counts: `[C]`.
        gamma: probability of sparing a rare class. rare_below: share of the training images.
        generator: source of randomness on the device of `logits`; None: torch's global one.

    Source: Tan et al., Equalization Loss (CVPR 2020), eq. 8 and 9.
    """
    rare = class_counts.to(logits.device) < rare_below * class_counts.sum()  # [C]
    spared = torch.rand(logits.shape, generator=generator, device=logits.device) < gamma
    others = F.one_hot(labels, logits.shape[1]) == 0  # [N, C]
    return cross_entropy(logits.masked_fill(spared & rare & others, -math.inf), labels)


def label_aware_smoothing(
    logits: Tensor,
    labels: Tensor,
    *,
    class_counts: Tensor,
    head: float = 0.4,
    tail: float = 0.1,
) -> Tensor:
    """Label smoothing that grows with the number of images of the true class.

    `(1 - e_y) (-log p_y) + e_y mean_k(-log p_k)`, with
    `e_j = tail + (head - tail) sin(pi/2 (n_j - n_min) / (n_max - n_min))`, counted over the classes
    that have images; if all have equally many, `e_j = head`.

    Args:
        logits: `[N, C]`. labels: `[N]`. class_counts: `[C]`.
        head: smoothing of the largest class. tail: of the smallest.

    Source: Zhong et al., MiSLAS (CVPR 2021), eq. 4 and 5.
    """
    counts = class_counts.to(logits)
    smallest, largest = torch.where(counts > 0, counts, torch.inf).min(), counts.max()
    share = torch.where(largest > smallest, (counts - smallest) / (largest - smallest), 1.0)
    smoothing = tail + (head - tail) * torch.sin(math.pi / 2 * share)  # [C]
    own = smoothing[labels]
    log_p = torch.log_softmax(logits, dim=1)
    return (1 - own) * F.nll_loss(log_p, labels, reduction="none") - own * log_p.mean(dim=1)
