"""Tau-normalisation: its ends, what it leaves alone, and the curve against a slow loop."""

import pytest
import torch

from longtail.tau_norm import tau_curve, tau_grid, tau_normalize

WEIGHT = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
FEATURES = torch.randn(200, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_tau_0_leaves_every_row_and_tau_1_gives_unit_rows():
    assert tau_normalize(WEIGHT, tau=0.0).equal(WEIGHT)
    lengths = tau_normalize(WEIGHT, tau=1.0).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(7, dtype=torch.float64))


def test_rows_keep_their_direction():
    for tau in (0.3, 1.0, 1.7):
        cosine = torch.cosine_similarity(tau_normalize(WEIGHT, tau=tau), WEIGHT)
        torch.testing.assert_close(cosine, torch.ones(7, dtype=torch.float64))


def test_a_row_of_zeros_stays_zero():
    weight = WEIGHT.clone()
    weight[2] = 0
    for tau in (0.0, 1.0, 2.0):
        assert tau_normalize(weight, tau=tau)[2].equal(weight[2])


@pytest.mark.parametrize("scale", [1e-3, 50.0])
def test_scaling_all_rows_changes_no_prediction(scale):
    taus = tau_grid(max_tau=2.0, steps=21)
    for a, b in zip(
        tau_curve(FEATURES, WEIGHT, taus=taus),
        tau_curve(FEATURES, scale * WEIGHT, taus=taus),
        strict=True,
    ):
        assert a.predictions.equal(b.predictions)


def test_the_curve_equals_one_head_a_tau():
    for point in tau_curve(FEATURES, WEIGHT, taus=tau_grid(max_tau=2.0, steps=21)):
        slow = (FEATURES @ tau_normalize(WEIGHT, tau=point.tau).T).argmax(dim=1)
        assert point.predictions.equal(slow)


def test_the_grid_has_both_ends_and_round_values():
    grid = tau_grid(max_tau=2.0, steps=21)
    assert grid == [round(0.1 * step, 1) for step in range(21)]
