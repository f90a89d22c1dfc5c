"""Samplers draw what their formulas say, within exact binomial bounds."""

import pytest
import torch
from scipy.stats import binom

from longtail.sampling import (
    SAMPLERS,
    class_aware,
    draw,
    effective_number_probabilities,
    epoch_order,
    head_half_sizes,
    progressive_probabilities,
    review_sizes,
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


def order_of(sampler: str, labels: torch.Tensor = LABELS, *, seed: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return epoch_order(sampler, labels, num_classes=4, epoch=3, epochs=5, generator=generator)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_positions_and_depends_on_its_generator_alone(sampler):
    shuffled = LABELS[torch.randperm(130, generator=torch.Generator().manual_seed(1))]
    drawn = order_of(sampler, shuffled)
    assert drawn.equal(order_of(sampler, shuffled))
    assert not drawn.equal(order_of(sampler, shuffled, seed=8))
    assert drawn.min() >= 0 and drawn.max() < 130


def test_effective_number_sampling_favours_the_head_a_little():
    """On CIFAR-10-LT, IF 100, the largest of ten classes gets 11.9 % instead of 10 %."""
    counts = torch.tensor([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
    probabilities = effective_number_probabilities(counts)
    assert probabilities[0].item() == pytest.approx(0.119, abs=5e-4)
    few = effective_number_probabilities(counts, beta=1 - 1e-9)
    torch.testing.assert_close(few, sampling_probabilities(counts, q=0.0), rtol=1e-5, atol=0)


def test_class_aware_visits_classes_in_turn_and_images_of_each_in_turn():
    drawn = class_aware(LABELS, in_a_row=4, draws=800, generator=torch.Generator().manual_seed(0))
    visits = LABELS[drawn].view(-1, 4)
    assert (visits == visits[:, :1]).all(), "four of a class in a row"
    for cycle in visits[:, 0].split(4):
        assert cycle.sort().values.equal(torch.arange(4)), "every class once a cycle"
    uses = torch.bincount(drawn, minlength=130)
    for label in range(4):
        mine = uses[label == LABELS]
        assert mine.max() - mine.min() <= 1


def test_oversampling_fills_and_undersampling_cuts_every_class_evenly():
    over, under = order_of("oversampling"), order_of("undersampling")
    assert torch.bincount(LABELS[over]).tolist() == [100] * 4
    assert torch.bincount(LABELS[under]).tolist() == [1] * 4
    uses = torch.bincount(over, minlength=130)
    assert all(u.max() - u.min() <= 1 for u in (uses[label == LABELS] for label in range(4)))


def test_data_balanced_review_sees_the_head_then_evens_it_out():
    assert torch.bincount(LABELS[order_of("head_half")], minlength=4).tolist() == [100, 25, 0, 0]
    review = LABELS[order_of("review")]
    assert torch.bincount(review, minlength=4).tolist() == [4, 4, 4, 1]
    assert review_sizes(torch.tensor([5, 9, 7])).tolist() == [5, 7, 7]
    assert head_half_sizes(torch.tensor([5, 9, 7])).tolist() == [0, 9, 0]


def test_the_halves_are_of_the_classes_that_have_images():
    assert head_half_sizes(torch.tensor([5, 0, 3, 0])).tolist() == [5, 0, 0, 0]
    assert review_sizes(torch.tensor([5, 0, 3, 0])).tolist() == [3, 0, 3, 0]
    assert head_half_sizes(torch.tensor([4])).tolist() == [4]
    assert review_sizes(torch.tensor([4, 0])).tolist() == [4, 0]


# Weights of the classes by their formulas, for 5000, 300 and 50 images at epoch 3 of 5.
BY_HAND = {
    "instance": [5000, 300, 50],
    "class_balanced": [1, 1, 1],
    "square_root": [5000**0.5, 300**0.5, 50**0.5],
    "progressive": [0.25 * n / 5350 + 0.75 / 3 for n in (5000, 300, 50)],
    "effective_number": [n / (1 - 0.9999**n) for n in (5000, 300, 50)],
}


@pytest.mark.parametrize("sampler", BY_HAND)
def test_a_sampler_draws_classes_as_its_formula_says(sampler):
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([5000, 300, 50]))
    drawn = torch.cat(
        [
            epoch_order(
                sampler,
                labels,
                num_classes=3,
                epoch=3,
                epochs=5,
                generator=torch.Generator().manual_seed(seed),
            )
            for seed in range(30)
        ]
    )
    histogram = torch.bincount(labels[drawn], minlength=3).tolist()
    for seen, weight in zip(histogram, BY_HAND[sampler], strict=True):
        low, high = binom.interval(1 - 1e-6, 30 * 5350, weight / sum(BY_HAND[sampler]))
        assert low <= seen <= high


def test_class_aware_passes_over_a_class_without_images():
    labels = torch.tensor([0, 0, 2, 2, 2])
    drawn = class_aware(labels, draws=8, generator=torch.Generator().manual_seed(0))
    assert torch.bincount(labels[drawn]).tolist() == [4, 0, 4]
