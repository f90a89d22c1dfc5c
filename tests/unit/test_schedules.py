"""Learning-rate schedules at the places where implementations go wrong."""

import math

import pytest

from longtail.schedules import cosine_factor, step_factor, warmup_factor

STEPS_PER_EPOCH = 85
CAO = [(0.8, 0.01), (0.9, 0.0001)]


def standard(epoch: int, step: int = 0) -> float:
    return step_factor(
        epoch * STEPS_PER_EPOCH + step,
        total_steps=200 * STEPS_PER_EPOCH,
        warmup_steps=5 * STEPS_PER_EPOCH,
        milestones=CAO,
    )


def test_the_standard_cifar_recipe_drops_at_160_and_180():
    last = STEPS_PER_EPOCH - 1
    assert standard(159, last) == 1.0
    assert standard(160) == 0.01
    assert standard(179, last) == 0.01
    assert standard(180) == standard(199, last) == 0.0001


def test_milestones_can_be_those_of_another_recipe():
    """A tenth every 30 of 90 epochs."""
    thirds = [(1 / 3, 0.1), (2 / 3, 0.01)]
    factors = [
        step_factor(epoch, total_steps=90, warmup_steps=0, milestones=thirds)
        for epoch in (0, 29, 30, 59, 60, 89)
    ]
    assert factors == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]


def test_warm_up_starts_with_the_first_step_and_ends_with_its_last():
    assert standard(0) == pytest.approx(1 / (5 * STEPS_PER_EPOCH))
    assert standard(4, STEPS_PER_EPOCH - 1) == 1.0
    assert warmup_factor(0, warmup_steps=0) == 1.0


def test_cosine_runs_over_what_the_warm_up_leaves():
    def factor(step: int) -> float:
        return cosine_factor(step, total_steps=110, warmup_steps=10, min_ratio=5e-4)

    assert factor(10) == 1.0
    assert factor(60) == pytest.approx((1 - 5e-4) / 2 + 5e-4)
    assert factor(110) == pytest.approx(5e-4)
    assert factor(85) == pytest.approx((1 + math.cos(0.75 * math.pi)) / 2 * (1 - 5e-4) + 5e-4)


def test_both_schedules_fall_after_the_warm_up():
    for factor in (
        lambda t: step_factor(t, total_steps=500, warmup_steps=20, milestones=CAO),
        lambda t: cosine_factor(t, total_steps=500, warmup_steps=20, min_ratio=0.0),
    ):
        values = [factor(t) for t in range(20, 500)]
        assert values == sorted(values, reverse=True)
