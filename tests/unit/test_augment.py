"""Batched augmentation does what the per-image transforms of torchvision do."""

from dataclasses import replace

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
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
from longtail.config.training import AugmentConfig

IMAGES = torch.randint(
    0, 256, (16, 9, 9, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


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
    part = slice(5, 11)
    assert augment(IMAGES[part], augmentation, draws[part]).equal(whole[part])


def test_cutout_greys_a_square_about_its_centre():
    draws = drawn(replace(NOTHING, cutout=4))
    holes = cut_out(torch.ones(16, 3, 9, 9), draws, side=4)[:, 0] == 0
    for n, hole in enumerate(holes):
        top, left = int(draws.hole_top[n] * 9) - 2, int(draws.hole_left[n] * 9) - 2
        expected = torch.zeros(9, 9, dtype=torch.bool)
        expected[max(0, top) : top + 4, max(0, left) : left + 4] = True
        assert hole.equal(expected)


@pytest.mark.parametrize(
    "auto", ["cifar10", "3a", "v0r-mstd0.5", "rand", "rand-m9-n3-p0.5-mstd0.5-mmax10-inc1-t3aw"]
)
def test_a_policy_that_parameters_allow_can_be_built(auto):
    allowed = AugmentConfig(auto=auto).auto
    assert image_policy(allowed, color_jitter=(0, 0, 0, 0), mean=(0.5, 0.5, 0.5)) is not None


@pytest.mark.parametrize(
    ("auto", "jitter"),
    [
        ("rand-m9-mstd0.5", (0.0,) * 4),
        ("original", (0.0,) * 4),
        ("cifar10", (0.0,) * 4),
        (None, (0.4, 0.4, 0.4, 0.1)),
    ],
)
def test_policies_run_on_a_batch_and_follow_their_seed(auto, jitter):
    policy = image_policy(auto, color_jitter=jitter, mean=(0.5, 0.5, 0.5))
    changed = apply_policy(IMAGES, policy, seed=1)
    assert changed.shape == IMAGES.shape and changed.dtype == torch.uint8
    assert not changed.equal(IMAGES)
    assert changed.equal(apply_policy(IMAGES, policy, seed=1))
    assert not changed.equal(apply_policy(IMAGES, policy, seed=2))


def test_no_policy_asked_none_made():
    assert image_policy(None, color_jitter=(0.0,) * 4, mean=(0.5, 0.5, 0.5)) is None
