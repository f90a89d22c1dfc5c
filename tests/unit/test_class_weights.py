"""Class weights against their limits, scikit-learn and torch."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from longtail.losses.weights import effective_number_weights, inverse_frequency_weights

COUNTS = torch.tensor([500, 120, 30, 5])


def test_inverse_frequency_is_scikit_learns_balanced():
    labels = np.repeat(np.arange(4), COUNTS.numpy())
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    torch.testing.assert_close(inverse_frequency_weights(COUNTS), torch.from_numpy(expected))


def test_effective_number_limits():
    nearly_zero = effective_number_weights(COUNTS, beta=1e-12)
    torch.testing.assert_close(nearly_zero, torch.ones(4, dtype=torch.float64))
    inverse = 1 / COUNTS.double()
    nearly_one = effective_number_weights(COUNTS, beta=1 - 1e-9)
    torch.testing.assert_close(nearly_one, 4 * inverse / inverse.sum(), rtol=1e-5, atol=0)


def test_effective_number_is_not_flat_at_the_usual_beta():
    """Guards against beta = 0.9, which makes all weights equal beyond about 40 images."""
    weights = effective_number_weights(COUNTS, beta=0.9999)
    assert weights[3] / weights[0] > 90
    assert weights.sum() == pytest.approx(4)


@pytest.mark.parametrize(
    "weights", [inverse_frequency_weights, lambda n: effective_number_weights(n, beta=0.9999)]
)
def test_equal_counts_weigh_equally_and_absent_classes_nothing(weights):
    torch.testing.assert_close(weights(torch.full((4,), 9)), torch.ones(4, dtype=torch.float64))
    assert weights(torch.tensor([10, 0, 5]))[1] == 0


def test_effective_numbers_of_equal_counts_are_one_beside_absent_classes():
    weights = effective_number_weights(torch.tensor([7, 7, 0]), beta=0.99)
    torch.testing.assert_close(weights, torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
