"""Shifted priors are Bayes' rule; the estimated prior is the maximum of the likelihood."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from longtail.prior_shift import estimate_prior, shift_prior

MEANS = np.array([-2.0, 0.0, 1.5])  # of three classes of numbers, each normal with variance 1
TRAINED = np.array([0.80, 0.15, 0.05])
TARGET = np.array([0.20, 0.30, 0.50])


def sample(prior: np.ndarray, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers `[N]` and their classes `[N]`, classes as frequent as `prior` says."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(prior), size=count, p=prior)
    return rng.normal(MEANS[labels], 1.0), labels


def log_posterior(x: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Bayes' rule with the densities themselves, `[N, C]`."""
    return log_softmax(norm.logpdf(x[:, None], MEANS) + np.log(prior), axis=1)


def test_a_shift_gives_the_posterior_under_the_target():
    x, _ = sample(TARGET, 200)
    shifted = shift_prior(log_posterior(x, TRAINED), trained=TRAINED, target=TARGET)
    np.testing.assert_allclose(shifted, log_posterior(x, TARGET), atol=1e-12)


def test_a_shift_to_the_trained_prior_changes_nothing_and_shifts_compose():
    x, _ = sample(TARGET, 50)
    before = log_posterior(x, TRAINED)
    np.testing.assert_allclose(
        shift_prior(before, trained=TRAINED, target=TRAINED), before, atol=1e-12
    )
    there = shift_prior(before, trained=TRAINED, target=TARGET)
    back = shift_prior(there, trained=TARGET, target=TRAINED)
    np.testing.assert_allclose(back, before, atol=1e-12)


def test_counts_do_as_well_as_shares():
    x, _ = sample(TARGET, 50)
    before = log_posterior(x, TRAINED)
    by_share = shift_prior(before, trained=TRAINED, target=TARGET)
    by_count = shift_prior(before, trained=1000 * TRAINED, target=77 * TARGET)
    np.testing.assert_allclose(by_count, by_share, atol=1e-12)


def test_a_class_that_cannot_occur_is_never_predicted_however_certain_the_model_is():
    certain = log_softmax(np.array([[2000.0, 1.0, 0.0]]), axis=1)
    shifted = shift_prior(certain, trained=np.ones(3), target=np.array([0.0, 0.5, 0.5]))
    np.testing.assert_allclose(np.exp(shifted), [[0.0, *softmax([1.0, 0.0])]], atol=1e-12)


def test_a_class_that_was_never_trained_stays_impossible():
    logits = np.array([[1.0, 0.0, -1e30]])
    trained, target = np.array([0.9, 0.1, 0.0]), np.array([0.1, 0.1, 0.8])
    shifted = shift_prior(log_softmax(logits, axis=1), trained=trained, target=target)
    assert shifted[0, 2] == -np.inf and np.exp(shifted).sum() == pytest.approx(1)


def test_the_estimate_finds_the_prior_of_the_images_from_the_posteriors_alone():
    x, labels = sample(TARGET, 20_000)
    found = estimate_prior(log_posterior(x, TRAINED), trained=TRAINED)
    shares = np.bincount(labels, minlength=3) / len(labels)
    assert found.converged
    np.testing.assert_allclose(found.prior, shares, atol=0.02)
    assert found.prior.sum() == pytest.approx(1)


def test_the_estimate_is_the_maximum_of_the_likelihood():
    x, _ = sample(TARGET, 300)
    densities = norm.pdf(x[:, None], MEANS)

    def loss(free: np.ndarray) -> float:
        return -float(np.log(densities @ softmax([*free, 0.0])).mean())

    best = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9})
    found = estimate_prior(log_posterior(x, TRAINED), trained=TRAINED, tolerance=1e-12)
    np.testing.assert_allclose(found.prior, softmax([*best.x, 0.0]), atol=1e-5)


def test_single_precision_is_enough():
    x, _ = sample(TARGET, 2000)
    log_probabilities = log_posterior(x, TRAINED)
    exact = estimate_prior(log_probabilities, trained=TRAINED)
    rough = estimate_prior(log_probabilities.astype(np.float32), trained=TRAINED)
    np.testing.assert_allclose(rough.prior, exact.prior, atol=1e-4)


def test_images_as_in_training_leave_the_prior_where_it_was():
    x, _ = sample(TRAINED, 20_000)
    found = estimate_prior(log_posterior(x, TRAINED), trained=TRAINED)
    np.testing.assert_allclose(found.prior, TRAINED, atol=0.015)


def test_the_estimate_adapts_a_model_better_than_none():
    x, labels = sample(TARGET, 5000)
    before = log_posterior(x, TRAINED)
    prior = estimate_prior(before, trained=TRAINED).prior
    after = shift_prior(before, trained=TRAINED, target=prior)
    best = (log_posterior(x, TARGET).argmax(axis=1) == labels).mean()
    assert (before.argmax(axis=1) == labels).mean() < best - 0.1
    assert (after.argmax(axis=1) == labels).mean() > best - 0.01


def test_an_iteration_that_is_cut_short_says_so():
    x, _ = sample(TARGET, 300)
    found = estimate_prior(log_posterior(x, TRAINED), trained=TRAINED, max_iterations=2)
    assert found.iterations == 2 and not found.converged


def test_certain_predictions_are_counted():
    predictions = np.array([0, 0, 0, 1])
    log_probabilities = np.log(np.eye(2)[predictions] + 1e-12)
    found = estimate_prior(log_probabilities, trained=np.array([0.5, 0.5]))
    np.testing.assert_allclose(found.prior, [0.75, 0.25], atol=1e-6)
