"""Batched augmentation does what the per-image transforms of torchvision do."""

import numpy as np
import torch
from torchvision.transforms.v2 import functional as tv

from longtail.augment import (
    Crops,
    apply_policy,
    augment_batch,
    auto_policy,
    crop,
    draw_crops,
    mixup,
)

IMAGES = torch.randint(
    0, 256, (16, 9, 9, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def test_crop_equals_torchvisions_pad_crop_and_flip():
    crops = draw_crops(
        16, crop_padding=2, horizontal_flip=True, generator=torch.Generator().manual_seed(3)
    )
    assert 0 < crops.flip.sum() < 16
    ours = crop(IMAGES, crops, crop_padding=2)
    for image, top, left, flip, got in zip(
        IMAGES, crops.top, crops.left, crops.flip, ours, strict=True
    ):
        expected = tv.crop(tv.pad(image.permute(2, 0, 1), [2]), int(top), int(left), 9, 9)
        expected = tv.horizontal_flip(expected) if flip else expected
        assert got.permute(2, 0, 1).equal(expected)


def test_without_padding_and_flip_nothing_changes():
    same = augment_batch(IMAGES, crop_padding=0, horizontal_flip=False, generator=torch.Generator())
    assert same.equal(IMAGES)


def test_offsets_cover_all_places_evenly():
    crops = draw_crops(
        90_000, crop_padding=1, horizontal_flip=True, generator=torch.Generator().manual_seed(0)
    )
    cells = torch.bincount(crops.top * 3 + crops.left, minlength=9)
    assert (cells - 10_000).abs().max() < 600  # six standard deviations of a binomial
    assert abs(crops.flip.double().mean() - 0.5) < 0.01


def test_a_share_of_the_crops_is_the_crop_of_the_share():
    crops = draw_crops(
        16, crop_padding=2, horizontal_flip=True, generator=torch.Generator().manual_seed(3)
    )
    whole = crop(IMAGES, crops, crop_padding=2)
    part = slice(5, 11)
    assert crop(IMAGES[part], crops[part], crop_padding=2).equal(whole[part])
    assert isinstance(crops[part], Crops)


def test_mixup_blends_images_with_their_partners():
    x = torch.rand(8, 3, 4, 4)
    blend, partners, share = mixup(x, alpha=1.0, generator=np.random.default_rng(5))
    assert 0 < share < 1
    assert partners.sort().values.equal(torch.arange(8))
    torch.testing.assert_close(blend, share * x + (1 - share) * x[partners])


def test_policies_of_timm_run_on_a_batch():
    for name in ("rand-m9-mstd0.5", "original"):
        policy = auto_policy(name, mean=(0.5, 0.5, 0.5))
        changed = apply_policy(IMAGES, policy)
        assert changed.shape == IMAGES.shape and changed.dtype == torch.uint8
        assert not changed.equal(IMAGES)
