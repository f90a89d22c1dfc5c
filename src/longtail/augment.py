"""Training augmentation on whole batches of uint8 images `[N, S, S, 3]`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Crops:
    """Where each image of a batch is cropped and whether it is mirrored; every field is `[N]`."""

    top: Tensor
    left: Tensor
    flip: Tensor

    def __getitem__(self, part: slice) -> "Crops":
        return Crops(self.top[part], self.left[part], self.flip[part])


def draw_crops(
    count: int, *, crop_padding: int, horizontal_flip: bool, generator: torch.Generator
) -> Crops:
    """Draw the crops of a batch; apart from `crop`, so that each process can take its share."""
    offsets = torch.randint(0, 2 * crop_padding + 1, (2, count), generator=generator)
    flip = torch.rand(count, generator=generator) < (0.5 if horizontal_flip else 0.0)
    return Crops(offsets[0], offsets[1], flip)


def crop(images: Tensor, crops: Crops, *, crop_padding: int) -> Tensor:
    """Pad with black, cut out at each image's offset, mirror; `[N, S, S, 3]` -> the same shape.

    One gather for the whole batch: the row and column indices carry the offset and the flip.
    """
    count, side = images.shape[:2]
    padded = F.pad(images, (0, 0, crop_padding, crop_padding, crop_padding, crop_padding))
    steps = torch.arange(side, device=images.device)
    rows = crops.top.to(images.device)[:, None] + steps  # [N, S]
    mirrored = torch.where(crops.flip.to(images.device)[:, None], steps.flip(0), steps)
    columns = crops.left.to(images.device)[:, None] + mirrored  # [N, S]
    batch = torch.arange(count, device=images.device)
    return padded[batch[:, None, None], rows[:, :, None], columns[:, None, :]]


def augment_batch(
    images: Tensor, *, crop_padding: int, horizontal_flip: bool, generator: torch.Generator
) -> Tensor:
    """Random crop with padding and horizontal flip; uint8 `[N, S, S, 3]` -> the same shape.

    The standard CIFAR augmentation: the distribution of torchvision's `RandomCrop(S, padding)` and
    `RandomHorizontalFlip`, drawn for the batch at once.
    """
    crops = draw_crops(
        len(images),
        crop_padding=crop_padding,
        horizontal_flip=horizontal_flip,
        generator=generator,
    )
    return crop(images, crops, crop_padding=crop_padding)


def auto_policy(name: str, *, mean: tuple[float, float, float]) -> Any:
    """Return timm's RandAugment (`rand-...`) or AutoAugment policy, a function of a PIL image."""
    from timm.data.auto_augment import auto_augment_transform, rand_augment_transform

    fill = tuple(round(255 * channel) for channel in mean)
    make = rand_augment_transform if name.startswith("rand") else auto_augment_transform
    return make(name, {"img_mean": fill})


def apply_policy(images: Tensor, policy: Any) -> Tensor:
    """Apply a timm policy image by image; uint8 `[N, S, S, 3]` -> the same shape.

    timm draws from the global generators of `random` and NumPy: seed them before.
    """
    pictures = [np.asarray(policy(Image.fromarray(image))) for image in images.cpu().numpy()]
    return torch.from_numpy(np.stack(pictures)).to(images.device)


def mixup(
    images: Tensor, *, alpha: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor, float]:
    """Blend each image with a partner, `lambda x_i + (1 - lambda) x_j`; one lambda a batch.

    The caller blends the two losses in the same proportion, which works with every loss.

    Args:
        images: float `[N, 3, S, S]`. alpha: both parameters of `lambda ~ Beta(alpha, alpha)`.
        generator: source of randomness.

    Returns:
        the blend `[N, 3, S, S]`, the partner of each image int64 `[N]`, and lambda.

    Source: Zhang et al., mixup (ICLR 2018), eq. 1.
    """
    share = float(generator.beta(alpha, alpha))
    partners = torch.from_numpy(generator.permutation(len(images))).to(images.device)
    return share * images + (1 - share) * images[partners], partners, share
