"""Mixup and CutMix: what is blended, and in which proportion."""

import numpy as np
import pytest
import torch

from longtail.mixing import cutmix, mix, mixup

X = torch.rand(8, 3, 10, 12, generator=torch.Generator().manual_seed(0))


def test_mixup_blends_images_with_their_partners():
    blend, partners, share = mixup(X, alpha=1.0, generator=np.random.default_rng(5))
    assert 0 < share < 1
    assert partners.sort().values.equal(torch.arange(8))
    torch.testing.assert_close(blend, share * X + (1 - share) * X[partners])


def test_cutmix_takes_a_rectangle_and_counts_its_pixels():
    for seed in range(30):
        blend, partners, share = cutmix(X, alpha=1.0, generator=np.random.default_rng(seed))
        theirs = (blend == X[partners]).all(1) & (blend != X).any(1)
        moved = theirs[partners != torch.arange(8)]
        if not len(moved):
            continue
        assert (moved == moved[0]).all(), "the same rectangle in every image"
        assert moved[0].float().mean().item() == pytest.approx(1 - share)
        rows, columns = moved[0].any(1), moved[0].any(0)
        assert moved[0].equal(rows[:, None] & columns[None]), "a rectangle"


def test_cutmix_keeps_half_on_average():
    """Of uniform lambdas: less is cut than drawn, because the rectangle may stick out."""
    rng = np.random.default_rng(0)
    shares = [cutmix(X[:2], alpha=1.0, generator=rng)[2] for _ in range(2000)]
    assert 0.5 < np.mean(shares) < 0.8


def test_a_coin_decides_between_both():
    def is_mixup(seed: int) -> bool:
        blend, partners, share = mix(
            X, mixup_alpha=1.0, cutmix_alpha=1.0, generator=np.random.default_rng(seed)
        )
        return torch.allclose(blend, share * X + (1 - share) * X[partners])

    assert 60 < sum(is_mixup(seed) for seed in range(200)) < 140
