"""Mixup and CutMix: batches of blended images whose two losses are blended alike.

The caller takes the loss of both labels and mixes those, which works with every loss.
"""

import math

import numpy as np
import torch
from torch import Tensor

Mixed = tuple[Tensor, Tensor, float]


def mixup(images: Tensor, *, alpha: float, generator: np.random.Generator) -> Mixed:
    """Blend each image with a partner, `lambda x_i + (1 - lambda) x_j`; one lambda a batch.

    Args:
        images: float `[N, 3, S, S]`. alpha: both parameters of `lambda ~ Beta(alpha, alpha)`.
        generator: source of randomness.

    Returns:
        the blend `[N, 3, S, S]`, the partner of each image int64 `[N]`, and lambda.

    Source: Zhang et al., mixup (ICLR 2018), eq. 1.
    """
    share = float(generator.beta(alpha, alpha))
    partners = _partners(images, generator)
    return share * images + (1 - share) * images[partners], partners, share


def cutmix(images: Tensor, *, alpha: float, generator: np.random.Generator) -> Mixed:
    """Replace one rectangle by the partner's pixels; lambda is the share that stays.

    The rectangle has the area `1 - lambda` of the image and a centre anywhere, so that it may stick
    out; the lambda that is returned counts pixels. Shapes and sources of randomness as in `mixup`.

    Source: Yun et al., CutMix (ICCV 2019), eq. 1 and 2.
    """
    share = float(generator.beta(alpha, alpha))
    partners = _partners(images, generator)
    height, width = images.shape[2:]
    rows, columns = (
        _interval(size, math.sqrt(1 - share), float(generator.random())) for size in (height, width)
    )
    blend = images.clone()
    blend[:, :, rows, columns] = images[partners][:, :, rows, columns]
    pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
    return blend, partners, 1 - pixels / (height * width)


def mix(
    images: Tensor, *, mixup_alpha: float, cutmix_alpha: float, generator: np.random.Generator
) -> Mixed:
    """Apply mixup or CutMix, whichever has an alpha above 0; if both have, a coin decides."""
    if cutmix_alpha and (not mixup_alpha or generator.random() < 0.5):
        return cutmix(images, alpha=cutmix_alpha, generator=generator)
    return mixup(images, alpha=mixup_alpha, generator=generator)


def _partners(images: Tensor, generator: np.random.Generator) -> Tensor:
    partners = torch.from_numpy(generator.permutation(len(images)))
    return partners.to(images.device, non_blocking=True)


def _interval(size: int, share: float, centre: float) -> slice:
    """An interval of `share * size` pixels about `centre * size`, cut to the image."""
    length, middle = round(share * size), int(centre * size)
    return slice(max(0, middle - length // 2), min(size, middle - length // 2 + length))
