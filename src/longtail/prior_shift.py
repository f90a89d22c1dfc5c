"""Predictions for class frequencies other than those of training.

A model returns probabilities `p(y | x)` under the class distribution it has learnt, its prior
`p(y)`. If the images of a class look the same elsewhere and only their share `p'(y)` differs, then

    p'(y | x)  is proportional to  p(y | x) * p'(y) / p(y).

Source: Saerens, Latinne, Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
Probabilities: A Simple Procedure (Neural Computation 2002), equations 2.4 and 2.9.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class PriorEstimate:
    """A class distribution `[C]` that sums to 1, and how the iteration ended."""

    prior: Floats
    iterations: int
    converged: bool


def shift_prior(log_probabilities: Floats, *, trained: Floats, target: Floats) -> Floats:
    """Return the log-probabilities under another class distribution, `[N, C]`.

    Logarithms avoid 0 / 0 where a class that cannot occur is predicted with certainty. A class
    that was never trained, or cannot occur, gets `-inf`.

    Args:
        log_probabilities: of the model, `[N, C]`. trained: the prior they assume, `[C]`.
        target: the class distribution to predict for, `[C]`; not 0 for all trained classes.
    """
    return log_softmax(log_probabilities + _log_ratio(target, trained))


def log_softmax(logits: Floats) -> Floats:
    """Return the log-probabilities of logits `[N, C]`."""
    z = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))


def estimate_prior(
    log_probabilities: Floats,
    *,
    trained: Floats,
    tolerance: float = 1e-7,
    max_iterations: int = 10_000,
) -> PriorEstimate:
    """Estimate the class distribution of unlabelled images by expectation maximisation.

    From `pi = trained` on, `pi_y <- mean_x p_pi(y | x)`, where `p_pi` is the prediction shifted to
    `pi`, until no component moves by `tolerance`. The likelihood of the images is concave in `pi`,
    so that this finds its maximum; a class with `pi_y = 0` stays there. Needs as much memory as its
    argument once more.

    Args:
        log_probabilities: of the model, `[N, C]` with `N > 0`; calibrated, or the estimate is off.
        trained: the prior they assume, `[C]`.
    """
    ratio = _log_ratio(np.ones_like(trained), trained).astype(log_probabilities.dtype)
    likelihoods = log_probabilities + ratio  # of x given y, in logarithms, up to a term in x alone
    likelihoods -= likelihoods.max(axis=1, keepdims=True)
    np.exp(likelihoods, out=likelihoods)  # [N, C]
    prior = np.asarray(trained, np.float64) / np.sum(trained)
    for iteration in range(1, max_iterations + 1):
        evidence = likelihoods @ prior.astype(likelihoods.dtype)  # [N]
        updated = prior * (likelihoods.T @ (1 / evidence)) / len(likelihoods)
        updated /= updated.sum()
        moved = np.abs(updated - prior).max()
        prior = updated
        if moved < tolerance:
            return PriorEstimate(prior, iteration, converged=True)
    return PriorEstimate(prior, max_iterations, converged=False)


def _log_ratio(target: Floats, trained: Floats) -> Floats:
    """`log(target / trained)`, and `-inf` where either is 0."""
    possible = (target > 0) & (trained > 0)
    safe = np.where(possible, target, 1.0) / np.where(possible, trained, 1.0)
    return np.where(possible, np.log(safe), -np.inf)
