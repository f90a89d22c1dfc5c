"""Batched augmentation does what the per-image transforms of torchvision do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import AutoAugment, AutoAugmentPolicy, InterpolationMode
from torchvision.transforms.v2 import functional as tv

from longtail.augment import (
    Augmentation,
    apply_policy,
    augment,
    crop,
    cut_out,
    draw_augmentation,
    image_policy,
    turn,
)
from longtail.config.augment import AugmentConfig

IMAGES = torch.randint(
    0, 256, (16, 9, 9, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


GREY = (128, 128, 128)
NOTHING = Augmentation(crop_padding=0, horizontal_flip=False)


def drawn(augmentation: Augmentation, count: int = 16, *, seed: int = 3):
    return draw_augmentation(augmentation, count, generator=torch.Generator().manual_seed(seed))


def test_crop_equals_torchvisions_pad_crop_and_flips():
    draws = drawn(Augmentation(crop_padding=2, vertical_flip=True))
    assert 0 < draws.flip.sum() < 16 and 0 < draws.upside_down.sum() < 16
    ours = crop(IMAGES, draws, crop_padding=2)
    for n, (image, got) in enumerate(zip(IMAGES, ours, strict=True)):
        top, left = int(draws.top[n]), int(draws.left[n])
        expected = tv.crop(tv.pad(image.permute(2, 0, 1), [2]), top, left, 9, 9)
        expected = tv.horizontal_flip(expected) if draws.flip[n] else expected
        expected = tv.vertical_flip(expected) if draws.upside_down[n] else expected
        assert got.permute(2, 0, 1).equal(expected)


def test_nothing_asked_nothing_changed():
    assert augment(IMAGES, NOTHING, drawn(NOTHING)).equal(IMAGES)


def test_turn_equals_torchvisions_affine():
    angles, scales = torch.linspace(-20, 20, 16), torch.linspace(0.8, 1.2, 16)
    ours = turn(IMAGES, angles=angles, scales=scales)
    for image, angle, scale, got in zip(IMAGES, angles, scales, ours, strict=True):
        expected = tv.affine(
            image.permute(2, 0, 1).float(),
            angle=-float(angle),  # torchvision's angles go clockwise
            translate=[0, 0],
            scale=float(scale),
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        assert (got.permute(2, 0, 1).float() - expected).abs().max() <= 1


def test_angles_and_scales_stay_in_their_ranges():
    draws = drawn(Augmentation(rotation=20.0, scale=(0.8, 1.2)), 10_000)
    assert -20 <= draws.angle.min() < -19 and 19 < draws.angle.max() <= 20
    assert 0.8 <= draws.scale.min() < 0.81 and 1.19 < draws.scale.max() <= 1.2


def test_offsets_cover_all_places_evenly():
    draws = drawn(Augmentation(crop_padding=1), 90_000, seed=0)
    cells = torch.bincount(draws.top * 3 + draws.left, minlength=9)
    assert (cells - 10_000).abs().max() < 600  # six standard deviations of a binomial
    assert abs(draws.flip.double().mean() - 0.5) < 0.01
    assert not draws.upside_down.any()


def test_a_share_of_the_draws_is_the_augmentation_of_the_share():
    augmentation = Augmentation(crop_padding=2, rotation=10.0)
    draws = drawn(augmentation)
    whole = augment(IMAGES, augmentation, draws)
    part = torch.arange(5, 11)
    assert augment(IMAGES[part], augmentation, draws[part]).equal(whole[part])


def test_cutout_paints_a_square_about_its_centre():
    draws = drawn(replace(NOTHING, cutout=4))
    white = torch.full((16, 9, 9, 3), 255, dtype=torch.uint8)
    painted = cut_out(white, draws, side=4, color=(1, 2, 3))
    for n, image in enumerate(painted):
        top, left = int(draws.hole_top[n] * 9) - 2, int(draws.hole_left[n] * 9) - 2
        expected = white[n].clone()
        square = torch.tensor([1, 2, 3], dtype=torch.uint8)
        expected[max(0, top) : top + 4, max(0, left) : left + 4] = square
        assert image.equal(expected)


@pytest.mark.parametrize(
    "auto", ["cifar10", "3a", "v0r-mstd0.5", "rand", "rand-m9-n3-p0.5-mstd0.5-mmax10-inc1-t3aw"]
)
def test_a_policy_that_parameters_allow_can_be_built(auto):
    allowed = AugmentConfig(auto=auto).auto
    assert image_policy(allowed, color_jitter=(0, 0, 0, 0), color=GREY) is not None


POLICIES = [
    ("rand-m9-mstd0.5", (0.0,) * 4),
    ("original", (0.0,) * 4),
    ("cifar10", (0.0,) * 4),
    (None, (0.4, 0.4, 0.4, 0.1)),
    ("rand-m9-mstd0.5", (0.4, 0.4, 0.4, 0.1)),
]


@pytest.mark.parametrize(("auto", "jitter"), POLICIES)
def test_policies_run_on_a_batch_and_follow_their_seeds(auto, jitter):
    policy = image_policy(auto, color_jitter=jitter, color=GREY)
    seeds = torch.arange(16)
    changed = apply_policy(IMAGES, policy, seeds=seeds)
    assert changed.shape == IMAGES.shape and changed.dtype == torch.uint8
    assert not changed.equal(IMAGES)
    assert changed.equal(apply_policy(IMAGES, policy, seeds=seeds))
    assert not changed.equal(apply_policy(IMAGES, policy, seeds=seeds + 16))


@pytest.mark.parametrize(("auto", "jitter"), POLICIES)
def test_images_of_a_seed_are_changed_alike_whatever_is_beside_them(auto, jitter):
    policy = image_policy(auto, color_jitter=jitter, color=GREY)
    same = IMAGES[:1].expand(16, -1, -1, -1)
    changed = apply_policy(same, policy, seeds=torch.arange(16) % 8)
    assert changed[:8].equal(changed[8:])
    for n in range(8):
        assert apply_policy(IMAGES[:1], policy, seeds=torch.tensor([n]))[0].equal(changed[n])


def test_autoaugment_on_a_batch_is_torchvisions_on_each_picture():
    """But for a few pixels where PIL rounds a sheared or turned coordinate the other way."""
    policy = image_policy("cifar10", color_jitter=(0, 0, 0, 0), color=GREY)
    pictures = torch.randint(0, 256, (100, 32, 32, 3), dtype=torch.uint8)
    changed = apply_policy(pictures, policy, seeds=torch.arange(100))
    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10, fill=list(GREY))
    close = []
    for seed, (picture, ours) in enumerate(zip(pictures, changed, strict=True)):
        torch.manual_seed(seed)
        expected = torch.from_numpy(np.asarray(theirs(Image.fromarray(picture.numpy()))).copy())
        close.append(((ours.int() - expected.int()).abs() <= 2).float().mean())
    assert torch.stack(close).median() > 0.99


def test_images_of_a_batch_have_draws_of_the_policy_of_their_own():
    seeds = draw_augmentation(
        NOTHING, 100, generator=torch.Generator().manual_seed(0), batch_size=32
    ).policy
    assert len(seeds[:32].unique()) == 32
    assert seeds[32:64].equal(seeds[:32]) and seeds[96:].equal(seeds[:4])


def test_no_policy_asked_none_made():
    assert image_policy(None, color_jitter=(0.0,) * 4, color=GREY) is None


@pytest.mark.parametrize("auto", ["rand-m0", "rand-m10-inc1", "v0"])
def test_no_draw_of_a_policy_fails(auto):
    """timm asks for 0 bits of a channel now and then, which Pillow refuses."""
    policy = image_policy(auto, color_jitter=(0.0,) * 4, color=GREY)
    pictures = torch.zeros(400, 4, 4, 3, dtype=torch.uint8)
    assert apply_policy(pictures, policy, seeds=torch.arange(400)).shape == pictures.shape
