"""Many classes as one sample: weights, variances, and what may not be forgotten."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from longtail.gating import paired, score

TAIL = 0.025
tables = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 30)).filter(sum),
    min_size=1,
    max_size=8,
)


def counted(table: list[tuple[int, int, int]]) -> paired.Paired:
    """Of every class: gains, losses, and images that both have right."""
    gains, losses, both = np.array(table).T
    return paired.Paired(gains + losses + both, gains, losses, both)


def variance_of(whole: paired.Sample) -> float:
    """The variance of the difference that a sample of this size stands for."""
    share = float(whole.gains + whole.losses) / float(whole.images)
    return (share - float(whole.difference) ** 2) / (float(whole.images) - 1)


def answers(table: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """The same as one number an image (+1, -1, 0), and its class."""
    d = np.concatenate([np.repeat([1, -1, 0], row) for row in table])
    return d, np.repeat(np.arange(len(table)), [sum(row) for row in table])


@settings(deadline=None)
@given(tables)
def test_one_class_is_a_sample_as_it_is(table):
    one = counted(table[:1])
    for weighting in ("classes", "images"):
        whole = paired.stratified(one, weighting=weighting)
        assert float(whole.images) == pytest.approx(float(one.images[0]))
        assert float(whole.gains) == pytest.approx(float(one.gains[0]))


@settings(deadline=None)
@given(tables)
def test_difference_is_that_of_the_mean_class_accuracies(table):
    classes = counted(table)
    d, labels = answers(table)
    means = [d[labels == k].mean() for k in range(len(table))]
    whole = paired.stratified(classes, weighting="classes")
    assert float(whole.difference) == pytest.approx(np.mean(means))
    pooled = paired.stratified(classes, weighting="images")
    assert float(pooled.difference) == pytest.approx(d.mean())


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(5, 9)), min_size=2, max_size=6
    )
)
def test_variance_is_that_of_class_means_with_robust_errors(table):
    """A regression on class indicators with HC2 errors gives the same variance of the mean."""
    d, labels = answers(table)
    fit = sm.OLS(d, np.eye(len(table))[labels]).fit(cov_type="HC2")
    weights = np.full(len(table), 1 / len(table))
    expected = float(weights @ fit.cov_params() @ weights)
    whole = paired.stratified(counted(table), weighting="classes")
    most = 1 / float((1 / counted(table).images).sum() / len(table) ** 2)
    if float(whole.images) < most * (1 - 1e-9):
        assert variance_of(whole) == pytest.approx(expected)
    else:
        assert float(whole.images) == pytest.approx(most) and variance_of(whole) >= 0.99 * expected


def test_a_balanced_test_counts_every_image_and_no_more():
    whole = paired.stratified(counted([(2, 1, 17), (1, 2, 17), (0, 0, 20)]), weighting="classes")
    assert float(whole.images) <= 60
    assert float(whole.images) == pytest.approx(60, rel=0.05)


def test_disagreements_in_large_classes_do_not_vouch_for_small_ones():
    """One disagreement in 100 images says nothing of ten classes of two images each."""
    small = [(0, 0, 2)] * 10
    lucky = paired.stratified(counted([(1, 0, 99), *small]), weighting="classes")
    none = paired.stratified(counted([(0, 0, 100), *small]), weighting="classes")
    assert float(lucky.images) == pytest.approx(float(none.images)) == pytest.approx(24.2, abs=0.1)
    assert float(score.lower_end(lucky, tail=TAIL)) < -0.1


def test_classes_of_one_image_are_not_of_no_variance():
    """100 classes of one image are as uncertain as one class of 100."""
    single = [(1, 0, 0)] * 10 + [(0, 1, 0)] * 10 + [(0, 0, 1)] * 80
    whole = paired.stratified(counted(single), weighting="classes")
    pooled = paired.stratified(counted([(10, 10, 80)]), weighting="classes")
    for found, expected in zip(
        (whole.images, whole.gains), (pooled.images, pooled.gains), strict=True
    ):
        assert float(found) == pytest.approx(float(expected), rel=0.02)


def test_a_lone_class_of_one_image_borrows_from_the_smallest_other():
    table = [(1, 0, 0), (1, 1, 2), (0, 0, 90)]
    d, labels = answers(table)
    joined = np.var(d[labels < 2], ddof=1)
    variance = (joined / 1 + np.var(d[labels == 1], ddof=1) / 4) / 9
    whole = paired.stratified(counted(table), weighting="classes")
    assert variance_of(whole) == pytest.approx(variance)


def test_classes_without_images_are_left_out():
    table = [(3, 1, 16), (0, 2, 18)]
    some = counted(table)
    empty = paired.Paired(
        *(np.insert(x, 1, 0) for x in (some.images, some.gains, some.losses, some.both))
    )
    for weighting in ("classes", "images"):
        whole = paired.stratified(empty, weighting=weighting)
        assert whole == paired.stratified(some, weighting=weighting)
    nothing = empty.only(np.array([1]))
    with pytest.raises(ValueError, match="no images"):
        paired.stratified(nothing, weighting="classes")


def test_pairs_are_counted_and_accuracies_are_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, size=300)
    ours, theirs = (np.where(rng.random(300) < p, labels, (labels + 1) % 5) for p in (0.6, 0.4))
    found = paired.pair(ours == labels, theirs == labels, labels, num_classes=5)
    balanced = [balanced_accuracy_score(labels, p) for p in (ours, theirs)]
    assert paired.accuracies(found, weighting="classes") == pytest.approx(balanced)
    plain = [(p == labels).mean() for p in (ours, theirs)]
    assert paired.accuracies(found, weighting="images") == pytest.approx(plain)
    assert (found.images.sum(), found.gains.sum()) == (
        300,
        ((ours == labels) & (theirs != labels)).sum(),
    )


def test_the_interval_agrees_with_a_bootstrap_within_the_classes():
    rng = np.random.default_rng(1)
    table = [tuple(rng.multinomial(40, (0.15, 0.1, 0.75))) for _ in range(30)]
    draws = [rng.multinomial(40, np.array(row) / 40, size=4000) for row in table]
    means = np.mean([(draw[:, 0] - draw[:, 1]) / 40 for draw in draws], axis=0)
    whole = paired.stratified(counted(table), weighting="classes")
    low, high = (float(end(whole, tail=TAIL)) for end in (score.lower_end, score.upper_end))
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [TAIL, 1 - TAIL])), abs=0.003)


def test_it_agrees_with_a_permutation_test():
    """If nothing changed, gain and loss are exchangeable image by image."""
    d, _ = answers([(14, 6, 80), (9, 5, 86), (6, 2, 92)])
    whole = paired.stratified(counted([(14, 6, 80), (9, 5, 86), (6, 2, 92)]), weighting="classes")
    found = stats.permutation_test(
        (d,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=9999,
        rng=np.random.default_rng(0),
        vectorized=True,
    )
    assert float(score.p_above(whole, difference=0.0)) == pytest.approx(found.pvalue, abs=0.01)
