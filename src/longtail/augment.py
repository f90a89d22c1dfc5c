"""Training augmentation on whole batches of uint8 images `[N, S, S, 3]`."""

import random
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

Policy = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image; the defaults are the standard CIFAR recipe.

    Attributes:
        crop_padding: black pixels around the image before it is cropped at random.
        horizontal_flip, vertical_flip: mirror with probability 1/2.
        rotation: degrees; an angle is drawn from -rotation..rotation.
        scale: an enlargement is drawn from this range.
        policy: what `image_policy` gives.
        policy_at_once: images may share a draw of the policy, which is then applied to all of them.
        cutout: side in pixels of a square that is painted over; 0: none.
        cutout_color: of that square.
    """

    crop_padding: int = 4
    horizontal_flip: bool = True
    vertical_flip: bool = False
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    policy: Policy | None = None
    policy_at_once: bool = True
    cutout: int = 0
    cutout_color: tuple[int, int, int] = (0, 0, 0)

    @property
    def turns(self) -> bool:
        """Whether images are rotated or scaled."""
        return self.rotation > 0 or self.scale != (1.0, 1.0)


@dataclass(frozen=True)
class Draws:
    """What was drawn for each image; every field is `[N]`.

    Drawn apart from its use, and for a whole epoch, so that each process can take its share and an
    interrupted epoch can go on.
    """

    top: Tensor
    left: Tensor
    flip: Tensor
    upside_down: Tensor
    angle: Tensor  # degrees
    scale: Tensor
    hole_top: Tensor  # centre of the cutout, in 0..1 of the side
    hole_left: Tensor
    policy: Tensor  # seed; the policy draws alike for all images of a seed

    def __getitem__(self, part: Tensor) -> "Draws":
        return Draws(**{field.name: getattr(self, field.name)[part] for field in fields(self)})

    def to(self, device: torch.device) -> "Draws":
        """Return the same draws on a device, where the images are."""
        drawn = {field.name: getattr(self, field.name) for field in fields(self)}
        return Draws(**{name: d.to(device, non_blocking=True) for name, d in drawn.items()})


def draw_augmentation(
    augmentation: Augmentation,
    count: int,
    *,
    generator: torch.Generator,
    batch_size: int | None = None,
) -> Draws:
    """Draw what happens to each of `count` images.

    Args:
        batch_size: images so far apart share a draw of the policy if it works on many at once; no
            two images of a batch do. Default: each image gets its own.
    """
    padding = augmentation.crop_padding
    offsets = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    uniform = torch.rand(6, count, generator=generator)
    low, high = augmentation.scale
    different = batch_size if batch_size and augmentation.policy_at_once else count
    seeds = torch.randint(0, 2**31, (different,), generator=generator)
    return Draws(
        top=offsets[0],
        left=offsets[1],
        flip=uniform[0] < (0.5 if augmentation.horizontal_flip else 0.0),
        upside_down=uniform[1] < (0.5 if augmentation.vertical_flip else 0.0),
        angle=(2 * uniform[2] - 1) * augmentation.rotation,
        scale=low + (high - low) * uniform[3],
        hole_top=uniform[4],
        hole_left=uniform[5],
        policy=seeds[torch.arange(count) % len(seeds)],
    )


def augment(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Crop, mirror, turn, apply the policy and cut out; uint8 `[N, S, S, 3]` -> the same shape.

    Args:
        images: `[N, S, S, 3]`. draws: of the same images, on their device.
    """
    images = crop(images, draws, crop_padding=augmentation.crop_padding)
    if augmentation.turns:
        images = turn(images, angles=draws.angle, scales=draws.scale)
    if augmentation.policy is not None:
        images = apply_policy(images, augmentation.policy, seeds=draws.policy)
    if augmentation.cutout:
        images = cut_out(images, draws, side=augmentation.cutout, color=augmentation.cutout_color)
    return images


def crop(images: Tensor, draws: Draws, *, crop_padding: int) -> Tensor:
    """Pad with black, cut out at each image's offset, mirror; `[N, S, S, 3]` -> the same shape.

    One gather for the whole batch: the row and column indices carry the offset and the mirroring.
    """
    count, side = images.shape[:2]
    padded = F.pad(images, (0, 0, crop_padding, crop_padding, crop_padding, crop_padding))
    steps = torch.arange(side, device=images.device)

    def indices(first: Tensor, mirror: Tensor) -> Tensor:
        mirrored = torch.where(mirror[:, None], steps.flip(0), steps)
        return first[:, None] + mirrored  # [N, S]

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
    color: tuple[int, int, int],
) -> Policy | None:
    """Return what jitters colours, then applies a policy; uint8 `[N, 3, S, S]` -> the same shape.

    It draws once for all its images, from torch's global generator.

    Args:
        auto: timm's name of a RandAugment (`rand-...`) or AutoAugment policy, `cifar10` for the
            AutoAugment policy that was found on CIFAR-10 (torchvision's), or None.
        color_jitter: largest change of brightness, contrast, saturation, hue; zeros: none.
        color: of what moves in from outside.
    """
    if auto is None and not any(color_jitter):
        return None
    from timm.data.auto_augment import auto_augment_transform, rand_augment_transform
    from torchvision.transforms.v2 import AutoAugment, AutoAugmentPolicy, ColorJitter, Compose

    parts: list[Any] = [ColorJitter(*color_jitter)] if any(color_jitter) else []
    if auto == "cifar10":
        parts.append(AutoAugment(AutoAugmentPolicy.CIFAR10, fill=list(color)))
    elif auto:
        made: Any
        if auto.startswith("rand"):
            made = rand_augment_transform(auto, {"img_mean": color})
            operations = made.ops
        else:
            made = auto_augment_transform(auto, {"img_mean": color})
            operations = [operation for pair in made.policy for operation in pair]
        for operation in operations:
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _posterize
        parts.append(partial(_picture_by_picture, made))
    policy: Policy = Compose(parts)
    return policy


def _posterize(picture: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep so many bits a channel; timm asks for 0 too, which Pillow refuses."""
    return ImageOps.posterize(picture, max(1, bits)) if bits < 8 else picture


def _picture_by_picture(policy: Callable[[Image.Image], Image.Image], images: Tensor) -> Tensor:
    """Apply one of timm's policies, which know PIL images alone and draw from Python and NumPy."""
    seed = int(torch.randint(0, 2**31, ()))
    pictures = []
    for image in images.permute(0, 2, 3, 1).cpu().numpy():
        random.seed(seed)
        np.random.seed(seed)
        pictures.append(np.asarray(policy(Image.fromarray(image))))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(images.device)


def apply_policy(images: Tensor, policy: Policy, *, seeds: Tensor) -> Tensor:
    """Apply a policy to all images of a seed at once; uint8 `[N, S, S, 3]` -> the same shape.

    Args:
        images: `[N, S, S, 3]`. seeds: int64 `[N]`, on the same device.
    """
    changed = torch.empty_like(images)
    order = seeds.argsort()
    values, counts = torch.unique(seeds, return_counts=True)
    members = torch.split(order, counts.tolist())
    for seed, group in zip(values.tolist(), members, strict=True):
        torch.manual_seed(seed)
        changed[group] = policy(images[group].permute(0, 3, 1, 2).contiguous()).permute(0, 2, 3, 1)
    return changed


def cut_out(images: Tensor, draws: Draws, *, side: int, color: tuple[int, int, int]) -> Tensor:
    """Paint a square of each image over; uint8 `[N, S, S, 3]` -> the same shape.

    The centre may lie anywhere in the image, so that the square may stick out.

    Source: DeVries & Taylor, Cutout (2017), section 3.2.
    """
    size = images.shape[1]
    steps = torch.arange(size, device=images.device)

    def inside(centre: Tensor) -> Tensor:
        first = (centre * size).long()[:, None] - side // 2
        return (steps >= first) & (steps < first + side)  # [N, S]

    hole = inside(draws.hole_top)[:, :, None] & inside(draws.hole_left)[:, None, :]
    paint = torch.tensor(color, dtype=torch.uint8, device=images.device)
    return torch.where(hole[..., None], paint, images)
