"""Samplers draw what their formulas say, within exact binomial bounds."""

import pytest
import torch
from scipy.stats import binom

from longtail.sampling import (
    draw,
    epoch_order,
    progressive_probabilities,
    sampling_probabilities,
)

COUNTS = torch.tensor([100, 25, 4, 1])
LABELS = torch.repeat_interleave(torch.arange(4), COUNTS)


def test_exponents_one_half_and_zero():
    torch.testing.assert_close(sampling_probabilities(COUNTS, q=1.0), COUNTS.double() / 130)
    root = torch.tensor([10.0, 5.0, 2.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(sampling_probabilities(COUNTS, q=0.5), root / 18)
    quarter = torch.full((4,), 0.25, dtype=torch.float64)
    torch.testing.assert_close(sampling_probabilities(COUNTS, q=0.0), quarter)


def test_a_class_without_images_is_never_drawn():
    for q in (0.0, 0.5, 1.0):
        assert sampling_probabilities(torch.tensor([3, 0, 2]), q=q)[1] == 0


def test_progressive_goes_from_instance_to_class_balanced():
    ends = [progressive_probabilities(COUNTS, epoch=epoch, epochs=10) for epoch in (0, 9)]
    torch.testing.assert_close(ends[0], sampling_probabilities(COUNTS, q=1.0))
    torch.testing.assert_close(ends[1], sampling_probabilities(COUNTS, q=0.0))
    alone = progressive_probabilities(COUNTS, epoch=0, epochs=1)
    torch.testing.assert_close(alone, ends[0])


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0])
def test_drawn_classes_stay_within_binomial_bounds(q):
    shuffled = LABELS[torch.randperm(130, generator=torch.Generator().manual_seed(1))]
    probabilities = sampling_probabilities(COUNTS, q=q)
    drawn = draw(shuffled, probabilities, draws=20_000, generator=torch.Generator().manual_seed(2))
    histogram = torch.bincount(shuffled[drawn], minlength=4)
    for seen, p in zip(histogram.tolist(), probabilities.tolist(), strict=True):
        low, high = binom.interval(1 - 1e-6, 20_000, p)
        assert low <= seen <= high


def test_images_within_a_class_are_drawn_evenly():
    probabilities = torch.tensor([0.0, 1.0, 0.0, 0.0])
    drawn = draw(LABELS, probabilities, draws=25_000, generator=torch.Generator().manual_seed(0))
    histogram = torch.bincount(drawn - 100, minlength=25)
    low, high = binom.interval(1 - 1e-6, 25_000, 1 / 25)
    assert low <= histogram.min() and histogram.max() <= high


def test_an_instance_epoch_visits_every_image_once():
    order = epoch_order(
        "instance", LABELS, num_classes=4, epoch=0, epochs=1, generator=torch.Generator()
    )
    assert order.sort().values.equal(torch.arange(130))


@pytest.mark.parametrize("sampler", ["class_balanced", "square_root", "progressive"])
def test_an_epoch_is_as_many_draws_as_there_are_images(sampler):
    orders = [
        epoch_order(
            sampler,
            LABELS,
            num_classes=4,
            epoch=3,
            epochs=5,
            generator=torch.Generator().manual_seed(7),
        )
        for _ in range(2)
    ]
    assert len(orders[0]) == 130
    assert orders[0].equal(orders[1]), "the generator alone decides"
