"""One loss over two levels: classes, and the super-classes that they belong to."""

import torch
from torch import Tensor

from longtail.losses.softmax import cross_entropy
from longtail.losses.table import SampleLoss
from longtail.losses.weights import inverse_frequency_weights


def two_level_weights(class_counts: Tensor) -> Tensor:
    """Weights of one level, scikit-learn's `balanced`; a class without images gets their mean.

    Args:
        class_counts: `[C]`.

    Returns:
        float64 `[C]`.

    Source: the paper on hierarchical image classification, section on class weights.
    """
    weights = inverse_frequency_weights(class_counts)
    present = class_counts > 0
    return torch.where(present, weights, weights[present].mean())


def two_level(
    *,
    super_of: Tensor,
    class_counts: Tensor,
    super_weight: float = 1.0,
    sub_weight: float = 1.0,
    balanced: bool = False,
) -> SampleLoss:
    """Return `u L_super + v L_sub` over logits `[N, C + S]`: classes first, then super-classes.

    Each level is one softmax with cross-entropy; the paper's text has a softmax before the
    cross-entropy, which would be two. Its ResNet-50 has `balanced` class weights and both levels
    weigh 1; its ConvNeXt has no class weights and levels that weigh `super_weight` and
    `sub_weight`. The mean is over the batch, so that weights count as they stand.

    Args:
        super_of: super-class of every class, int64 `[C]`. class_counts: `[C]`.

    Source: the paper on hierarchical image classification, eq. 1 to 5.
    """
    classes = len(super_of)
    super_counts = torch.zeros(int(super_of.max()) + 1, dtype=class_counts.dtype)
    super_counts = super_counts.to(class_counts).index_add(0, super_of, class_counts)
    levels = [class_counts, super_counts]
    sub_weights, super_weights = (
        two_level_weights(n) if balanced else torch.ones_like(n, dtype=torch.float64)
        for n in levels
    )

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        parents = super_of[labels]
        sub = sub_weights.to(logits)[labels] * cross_entropy(logits[:, :classes], labels)
        above = super_weights.to(logits)[parents] * cross_entropy(logits[:, classes:], parents)
        return super_weight * above + sub_weight * sub

    return loss
