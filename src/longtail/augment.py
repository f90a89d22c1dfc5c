"""Training augmentation on whole batches of uint8 images `[N, S, S, 3]`."""

import random
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image; the defaults are the standard CIFAR recipe.

    Attributes:
        crop_padding: black pixels around the image before it is cropped at random.
        horizontal_flip, vertical_flip: mirror with probability 1/2.
        rotation: degrees; an angle is drawn from -rotation..rotation.
        scale: an enlargement is drawn from this range.
        cutout: side in pixels of a square that is greyed out; 0: none.
        policy: function of a PIL image, drawing from the global generators, or None.
    """

    crop_padding: int = 4
    horizontal_flip: bool = True
    vertical_flip: bool = False
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    cutout: int = 0
    policy: Any | None = None

    @property
    def turns(self) -> bool:
        """Whether images are rotated or scaled."""
        return self.rotation > 0 or self.scale != (1.0, 1.0)


@dataclass(frozen=True)
class Draws:
    """What was drawn for each image of a batch; every field is `[N]`.

    Drawn apart from its use, and for the whole batch, so that each process can take its share.
    """

    top: Tensor
    left: Tensor
    flip: Tensor
    upside_down: Tensor
    angle: Tensor  # degrees
    scale: Tensor
    hole_top: Tensor  # centre of the cutout, in 0..1 of the side
    hole_left: Tensor

    def __getitem__(self, part: slice) -> "Draws":
        return Draws(**{field.name: getattr(self, field.name)[part] for field in fields(self)})


def draw_augmentation(
    augmentation: Augmentation, count: int, *, generator: torch.Generator
) -> Draws:
    """Draw what happens to each of `count` images."""
    padding = augmentation.crop_padding
    offsets = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    uniform = torch.rand(6, count, generator=generator)
    low, high = augmentation.scale
    return Draws(
        top=offsets[0],
        left=offsets[1],
        flip=uniform[0] < (0.5 if augmentation.horizontal_flip else 0.0),
        upside_down=uniform[1] < (0.5 if augmentation.vertical_flip else 0.0),
        angle=(2 * uniform[2] - 1) * augmentation.rotation,
        scale=low + (high - low) * uniform[3],
        hole_top=uniform[4],
        hole_left=uniform[5],
    )


def augment(
    images: Tensor, augmentation: Augmentation, draws: Draws, *, seed: int | None = None
) -> Tensor:
    """Crop, mirror, turn, and apply the policy; uint8 `[N, S, S, 3]` -> the same shape.

    The cutout is not in here: it greys out after normalisation, see `cut_out`.

    Args:
        images: `[N, S, S, 3]`. draws: of the same images.
        seed: of the policy; needed where there is one.
    """
    images = crop(images, draws, crop_padding=augmentation.crop_padding)
    if augmentation.turns:
        images = turn(images, angles=draws.angle, scales=draws.scale)
    if augmentation.policy is not None:
        assert seed is not None
        images = apply_policy(images, augmentation.policy, seed=seed)
    return images


def crop(images: Tensor, draws: Draws, *, crop_padding: int) -> Tensor:
    """Pad with black, cut out at each image's offset, mirror; `[N, S, S, 3]` -> the same shape.

    One gather for the whole batch: the row and column indices carry the offset and the mirroring.
    """
    count, side = images.shape[:2]
    padded = F.pad(images, (0, 0, crop_padding, crop_padding, crop_padding, crop_padding))
    steps = torch.arange(side, device=images.device)

    def indices(first: Tensor, mirror: Tensor) -> Tensor:
        mirrored = torch.where(mirror.to(images.device)[:, None], steps.flip(0), steps)
        return first.to(images.device)[:, None] + mirrored  # [N, S]

    rows = indices(draws.top, draws.upside_down)
    columns = indices(draws.left, draws.flip)
    batch = torch.arange(count, device=images.device)
    return padded[batch[:, None, None], rows[:, :, None], columns[:, None, :]]


def turn(images: Tensor, *, angles: Tensor, scales: Tensor) -> Tensor:
    """Rotate and enlarge each image about its centre, bilinear, black outside.

    Args:
        images: uint8 `[N, S, S, 3]`. angles: degrees, counter-clockwise, `[N]`. scales: `[N]`.

    Returns:
        uint8 `[N, S, S, 3]`.
    """
    radians = torch.deg2rad(angles)
    # The grid says where each output pixel comes from: the inverse of the turn.
    sine, cosine = torch.sin(radians) / scales, torch.cos(radians) / scales
    zero = torch.zeros_like(sine)
    matrices = torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1).view(-1, 2, 3)
    pixels = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(matrices.to(pixels), list(pixels.shape), align_corners=False)
    turned = F.grid_sample(pixels, grid, align_corners=False)
    return turned.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def image_policy(
    auto: str | None,
    *,
    color_jitter: tuple[float, float, float, float],
    mean: tuple[float, float, float],
) -> Any | None:
    """Return a function of a PIL image that jitters colours, then applies the policy `auto`.

    Args:
        auto: timm's name of a RandAugment (`rand-...`) or AutoAugment policy, `cifar10` for the
            AutoAugment policy that was found on CIFAR-10 (torchvision's), or None.
        color_jitter: largest change of brightness, contrast, saturation, hue; zeros: none.
        mean: channel means in 0..1; the colour of what moves in from outside.
    """
    if auto is None and not any(color_jitter):
        return None
    from timm.data.auto_augment import auto_augment_transform, rand_augment_transform
    from torchvision.transforms.v2 import AutoAugment, AutoAugmentPolicy, ColorJitter, Compose

    parts: list[Any] = [ColorJitter(*color_jitter)] if any(color_jitter) else []
    color = tuple(round(255 * channel) for channel in mean)
    if auto == "cifar10":
        parts.append(AutoAugment(AutoAugmentPolicy.CIFAR10, fill=list(color)))
    elif auto:
        make = rand_augment_transform if auto.startswith("rand") else auto_augment_transform
        parts.append(make(auto, {"img_mean": color}))
    return Compose(parts)


def apply_policy(images: Tensor, policy: Any, *, seed: int) -> Tensor:
    """Apply a policy image by image; uint8 `[N, S, S, 3]` -> the same shape.

    timm and torchvision draw from the global generators, which are set to `seed` before.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    pictures = [np.asarray(policy(Image.fromarray(image))) for image in images.cpu().numpy()]
    return torch.from_numpy(np.stack(pictures)).to(images.device)


def cut_out(inputs: Tensor, draws: Draws, *, side: int) -> Tensor:
    """Set a square of each normalised image to 0, the mean colour; `[N, 3, S, S]`.

    The centre may lie anywhere in the image, so that the square may stick out.

    Source: DeVries & Taylor, Cutout (2017), section 3.2.
    """
    size = inputs.shape[2]
    steps = torch.arange(size, device=inputs.device)

    def inside(centre: Tensor) -> Tensor:
        first = (centre.to(inputs.device) * size).long()[:, None] - side // 2
        return (steps >= first) & (steps < first + side)  # [N, S]

    hole = inside(draws.hole_top)[:, :, None] & inside(draws.hole_left)[:, None, :]
    return inputs.masked_fill(hole[:, None], 0.0)
