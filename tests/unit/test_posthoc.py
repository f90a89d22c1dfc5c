"""Logit adjustment and temperature: identities, and another route to the same values."""

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from longtail.heads import ABSENT, Head
from longtail.posthoc import adjust_logits, fit_temperature, with_temperature

GENERATOR = torch.Generator().manual_seed(0)
HEAD = Head("linear", torch.randn(4, 6, generator=GENERATOR), torch.randn(4, generator=GENERATOR))
X = torch.randn(50, 6, generator=GENERATOR)
COUNTS = torch.tensor([500, 120, 30, 5])


def test_no_adjustment_changes_nothing():
    torch.testing.assert_close(adjust_logits(HEAD, COUNTS, tau=0.0).logits(X), HEAD.logits(X))


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_adjustment_subtracts_the_log_prior_whatever_the_scale(scale):
    head = Head("linear", HEAD.weight, HEAD.bias, scale=scale)
    expected = head.logits(X) - 1.5 * (COUNTS / COUNTS.sum()).log()
    torch.testing.assert_close(adjust_logits(head, COUNTS, tau=1.5).logits(X), expected)


def test_equal_priors_change_no_prediction():
    adjusted = adjust_logits(HEAD, torch.full((4,), 9), tau=2.0)
    assert adjusted.logits(X).argmax(1).equal(HEAD.logits(X).argmax(1))


def test_a_class_without_images_is_never_predicted():
    logits = adjust_logits(HEAD, torch.tensor([5, 0, 5, 5]), tau=1.0).logits(X)
    assert (logits[:, 1] == ABSENT).all()
    assert torch.isfinite(logits).all()


def test_the_temperature_is_the_one_that_scipy_finds():
    logits = 4 * torch.randn(400, 5, generator=GENERATOR)
    labels = torch.distributions.Categorical(logits=logits / 2.5).sample()
    found = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return float(F.cross_entropy(logits.double() / temperature, labels))

    expected = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10})
    assert found == pytest.approx(expected.x, rel=1e-5)
    assert 2 < found < 3


def test_temperatures_end_at_their_bounds_where_none_is_best():
    sure = torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    assert fit_temperature(sure, torch.tensor([0, 1])) == pytest.approx(0.05)
    assert fit_temperature(sure, torch.tensor([1, 0])) == pytest.approx(20)


@pytest.mark.parametrize("kind", ["linear", "cosine", "ncm"])
def test_a_temperature_divides_the_logits_of_any_head(kind):
    head = Head(kind, HEAD.weight)
    torch.testing.assert_close(with_temperature(head, 2.5).logits(X), head.logits(X) / 2.5)


def test_images_of_absent_classes_have_no_say_in_the_temperature():
    logits = Head("linear", HEAD.weight, HEAD.bias, absent=COUNTS == 5).logits(X)
    labels = HEAD.logits(X).argmax(1)
    known = labels != 3
    assert not known.all()
    assert fit_temperature(logits, labels) == fit_temperature(logits[known], labels[known])


def test_the_temperature_of_a_mixture_divides_its_log_probabilities():
    mixture = Head("mixture", HEAD.weight, torch.randn(2, 4, generator=GENERATOR), parts=(2, 4))
    torch.testing.assert_close(with_temperature(mixture, 3.0).logits(X), mixture.logits(X) / 3)
