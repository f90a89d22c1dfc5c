"""Nearest class mean: a classifier that is averaged, not trained."""

from typing import Literal

import torch

from longtail.heads import Head
from longtail.stage2 import Labelled


def ncm(
    train: Labelled,
    *,
    num_classes: int,
    features: Literal["cl2n", "l2n", "none"],
    distance: Literal["euclidean", "cosine"],
) -> Head:
    """Nearest class mean of the training features, all views averaged.

    `cl2n` subtracts the global training mean and L2-normalises each feature before averaging, `l2n`
    only normalises. With the cosine distance the class means are normalised too. A class without
    images is absent.

    Source: Kang et al. (ICLR 2020), section 4.2; CL2N: Wang et al., SimpleShot (2019), section 3.
    """
    flat = train.features.flatten(0, 1)  # [V * N, D]
    labels = train.labels.repeat(len(train.features))
    center = flat.mean(dim=0) if features == "cl2n" else None
    plain = Head("ncm", flat[:1], center=center, normalize=features != "none")
    prepared = plain.prepare(flat)
    sums = torch.zeros(num_classes, flat.shape[1]).index_add_(0, labels, prepared)
    counts = torch.bincount(labels, minlength=num_classes)[:, None]  # [C, 1]
    absent = (counts == 0).squeeze(1)
    return Head(
        kind="ncm" if distance == "euclidean" else "cosine",
        weight=sums / counts.clamp(min=1),
        center=center,
        normalize=plain.normalize,
        absent=absent if absent.any() else None,
    )
