"""Score intervals of paired differences: theorems, published values, and other libraries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from longtail.gating import score
from longtail.gating.paired import Sample

TAIL = 0.025
counts = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60)).filter(sum)


def sample(gains: float, losses: float, images: float) -> Sample:
    return Sample(*(np.asarray(float(x)) for x in (images, gains, losses)))


def interval(given: Sample, tail: float = TAIL) -> tuple[float, float]:
    return float(score.lower_end(given, tail=tail)), float(score.upper_end(given, tail=tail))


@pytest.mark.parametrize(
    ("gains", "losses", "images", "low", "high"),
    [
        # Fagerland, Lydersen, Laake (2014), airway hyper-responsiveness of 21 children.
        (1, 7, 21, -0.517, -0.026),
    ],
)
def test_published_interval(gains, losses, images, low, high):
    assert interval(sample(gains, losses, images)) == pytest.approx((low, high), abs=5e-4)


@settings(deadline=None)
@given(counts)
def test_the_root_of_mcnemars_statistic_at_a_difference_of_zero(table):
    gains, losses, same = table
    found = float(score.score(sample(gains, losses, sum(table)), difference=0.0))
    if gains + losses:
        expected = mcnemar([[same, gains], [losses, 0]], exact=False, correction=False)
        assert found**2 == pytest.approx(expected.statistic)
        assert 2 * score.p_above(sample(gains, losses, sum(table)), difference=0.0) == (
            pytest.approx(expected.pvalue if gains >= losses else 2 - expected.pvalue)
        )
    else:
        assert found == 0


@settings(max_examples=40, deadline=None)
@given(counts, st.floats(-0.95, 0.95))
def test_the_nuisance_is_the_likeliest_one(table, difference):
    """The closed form maximises the likelihood of gains, losses and agreements."""
    gains, losses, same = table
    n = sum(table)
    b = -(gains + losses) + (2 * n - gains + losses) * difference
    root = np.sqrt(b * b + 8 * n * losses * difference * (1 - difference))
    q = (root - b) / (4 * n)

    def cost(loss: float) -> float:
        cells = [(gains, loss + difference), (losses, loss), (same, 1 - 2 * loss - difference)]
        return -sum(k * np.log(max(p, 1e-300)) for k, p in cells if k)

    low, high = max(0.0, -difference), (1 - difference) / 2
    found = optimize.minimize_scalar(cost, bounds=(low, high), method="bounded")
    assert cost(min(max(q, low), high)) <= found.fun + 1e-6
    variance = n * (2 * q + difference * (1 - difference))
    if variance > 1e-6:
        assert float(score.score(sample(gains, losses, n), difference=difference)) == (
            pytest.approx((gains - losses - n * difference) / np.sqrt(variance), rel=1e-6)
        )


@settings(deadline=None)
@given(counts)
def test_the_ends_are_where_the_score_is_the_quantile(table):
    given_sample = sample(table[0], table[1], sum(table))
    low, high = interval(given_sample)
    assert -1 <= low <= float(given_sample.difference) <= high <= 1
    z = stats.norm.isf(TAIL)
    if low > -1:
        assert float(score.score(given_sample, difference=low)) == pytest.approx(z, abs=1e-4)
    if high < 1:
        assert float(score.score(given_sample, difference=high)) == pytest.approx(-z, abs=1e-4)


@settings(deadline=None)
@given(counts, st.integers(-90, 90).map(lambda percent: percent / 100))
def test_an_end_is_beyond_a_bound_just_if_the_p_value_is_below_the_tail(table, bound):
    given_sample = sample(table[0], table[1], sum(table))
    low, high = interval(given_sample)
    p_above = float(score.p_above(given_sample, difference=bound))
    p_below = float(score.p_below(given_sample, difference=bound))
    if abs(low - bound) > 1e-9 and abs(p_above - TAIL) > 1e-9:
        assert (low > bound) == (p_above < TAIL)
    if abs(high - bound) > 1e-9 and abs(p_below - TAIL) > 1e-9:
        assert (high < bound) == (p_below < TAIL)


@settings(deadline=None)
@given(counts)
def test_swapping_the_models_turns_the_interval_over(table):
    gains, losses, _ = table
    low, high = interval(sample(gains, losses, sum(table)))
    assert interval(sample(losses, gains, sum(table))) == pytest.approx((-high, -low))


@pytest.mark.parametrize("images", [1, 20, 3.5, 10_000])
def test_without_disagreement_the_interval_has_a_width(images):
    z2 = stats.norm.isf(TAIL) ** 2
    expected = z2 / (images + z2)
    assert interval(sample(0, 0, images)) == pytest.approx((-expected, expected))
    assert score.surest_bound(images, tail=TAIL) == pytest.approx(expected)
    wilson = proportion_confint(images, images, method="wilson")
    assert 1 - wilson[0] == pytest.approx(expected)


@pytest.mark.parametrize("distance", [0.01, 0.1, 0.3, 1.0])
def test_images_needed_is_the_first_number_that_is_enough(distance):
    needed = score.images_needed(distance, tail=TAIL)
    assert score.surest_bound(needed, tail=TAIL) <= distance
    assert needed == 0 or score.surest_bound(needed - 1, tail=TAIL) > distance


def test_large_samples_have_the_normal_interval():
    low, high = interval(sample(20_000, 10_000, 100_000))
    reach = stats.norm.isf(TAIL) * np.sqrt((0.3 - 0.1**2) / 100_000)
    assert (low, high) == pytest.approx((0.1 - reach, 0.1 + reach), abs=2e-5)


def test_it_agrees_with_the_bootstrap():
    outcomes = np.repeat([1, -1, 0], [60, 40, 400])
    found = stats.bootstrap(
        (outcomes,), np.mean, confidence_level=0.95, n_resamples=9999, rng=np.random.default_rng(0)
    ).confidence_interval
    assert interval(sample(60, 40, 500)) == pytest.approx(tuple(found), abs=0.004)


@pytest.mark.parametrize("images", [20, 50])
@pytest.mark.parametrize("rates", [(0.05, 0.05), (0.3, 0.3), (0.25, 0.05), (0.02, 0.0)])
def test_exact_one_sided_coverage(images, rates):
    """Over all possible tables: a bound above zero change is claimed about as often as it says."""
    gain, loss = rates
    found = [(g, k) for g in range(images + 1) for k in range(images + 1 - g)]
    table = Sample(
        *(np.array(c, float) for c in ([images] * len(found), *zip(*found, strict=True)))
    )
    chance = stats.multinomial.pmf(
        [[g, k, images - g - k] for g, k in found], images, [gain, loss, 1 - gain - loss]
    )
    missed = chance[score.lower_end(table, tail=TAIL) > gain - loss].sum()
    assert missed < 0.045


# Few cases: `multipletests` calls `gc.collect()`, which is slow.
@pytest.mark.parametrize("count", [1, 2, 6, 12, 40])
def test_holm_claims_what_statsmodels_claims(count):
    p_values = np.random.default_rng(count).random(count) ** 6
    expected = multipletests(p_values, alpha=TAIL, method="holm")[0]
    tails = score.holm_tails(p_values, tail=TAIL)
    assert (p_values <= tails).tolist() == expected.tolist()
    assert TAIL / len(p_values) <= tails.min() and tails.max() <= TAIL
