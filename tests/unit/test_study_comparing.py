"""Differences between methods: against other routes, and by how often they are wrong."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from longtail.report.study import pareto_front
from longtail.study.comparing import compare, compare_together, holm


def test_one_class_and_one_seed_is_the_paired_t_interval():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random((2, 1, 500)) < [[[0.7]], [[0.6]]]
    found = compare(ours, theirs, np.zeros(500, dtype=int))
    d = ours[0].astype(float) - theirs[0]
    margin = stats.t(499).ppf(0.975) * d.std(ddof=1) / 500**0.5
    assert found.value == pytest.approx(d.mean())
    assert found.interval == pytest.approx((d.mean() - margin, d.mean() + margin), rel=1e-6)


def test_classes_count_the_same_whatever_their_size():
    labels = np.array([0] * 90 + [1] * 10)
    ours = np.ones((1, 100), dtype=bool)
    theirs = np.concatenate([np.ones(90), np.zeros(10)])[None].astype(bool)
    assert compare(ours, theirs, labels).value == pytest.approx(0.5)


def test_identical_answers_differ_by_nothing():
    right = np.ones((2, 10), dtype=bool)
    found = compare(right, right, np.arange(10) % 3)
    assert (found.value, found.interval, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_classes_that_all_answer_alike_prove_nothing_of_other_images():
    found = compare(np.ones((1, 6), dtype=bool), np.zeros((1, 6), dtype=bool), np.arange(6) // 2)
    assert found.p == 1.0 and found.interval == (-1.0, 1.0)


def test_the_spread_over_seeds_widens_the_interval_by_students_t():
    """Every image agrees within a seed, so only the seeds vary: a paired t-test over seeds."""
    ours = np.zeros((3, 1000), dtype=bool)
    for seed, share in enumerate((0.30, 0.40, 0.53)):
        ours[seed, : round(1000 * share)] = True
    theirs = np.zeros_like(ours)
    found = compare(ours, theirs, np.zeros(1000, dtype=int))
    alone = stats.ttest_1samp(ours.mean(axis=1), 0.0).confidence_interval(0.95)
    assert found.seeds == 3
    width = found.interval[1] - found.interval[0]
    assert width == pytest.approx(alone.high - alone.low, rel=0.1)


@pytest.mark.parametrize(
    "sizes", [(50, 50, 50, 50), (200, 40, 5, 3), (1,) * 20 + (2, 2), (40, 30, 1)]
)
def test_nothing_changed_is_called_a_difference_one_time_in_twenty(sizes):
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    trials = 1000
    wrong = sum(
        compare(rng.random((1, len(labels))) < 0.5, rng.random((1, len(labels))) < 0.5, labels).p
        < 0.05
        for _ in range(trials)
    )
    assert wrong / trials < 0.07


@pytest.mark.parametrize("spread", [0.02, 0.1])
@pytest.mark.parametrize("seeds", [2, 3])
def test_methods_that_differ_by_their_seeds_alone_are_called_different_one_time_in_twenty(
    seeds, spread
):
    """Some seeds are better than others, by `spread`; of few, that is hardly known from them."""
    rng = np.random.default_rng(4)
    labels = np.arange(400) % 4
    trials = 1000

    def method() -> np.ndarray:
        return rng.random((seeds, 400)) < rng.normal(0.5, spread, (seeds, 1))

    wrong = sum(compare(method(), method(), labels).p < 0.05 for _ in range(trials))
    assert wrong / trials < 0.07


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_p_is_the_level_whose_interval_ends_at_no_difference(seeds):
    rng = np.random.default_rng(5)
    ours, theirs = rng.random((2, seeds, 300)) < [[[0.75]], [[0.60]]]
    found = compare(ours, theirs, np.arange(300) % 3)
    assert 1e-9 < found.p < 0.9
    touching = compare(ours, theirs, np.arange(300) % 3, confidence=1 - found.p)
    assert min(map(abs, touching.interval)) == pytest.approx(0.0, abs=1e-9)


def test_holm_is_that_of_statsmodels():
    p = np.random.default_rng(2).random(20) ** 3
    assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([]) == []


def test_a_head_that_several_cells_share_counts_once_among_comparisons():
    rng = np.random.default_rng(1)
    labels = np.arange(2000) % 100
    stage1, tau, stage2 = (rng.random((1, 2000)) < share for share in (0.40, 0.40, 0.43))
    alone = [(stage2, stage1, labels), (tau, stage1, labels)]
    again = [(head.copy(), stage1, labels) for head in (stage1, tau) for _ in range(4)]
    found = compare_together(alone)
    assert compare_together([*alone, *again])[:2] == found
    single = [compare(*case).p for case in alone]
    assert [difference.p for difference in found] == holm(single) != single


def test_the_pareto_front_is_what_nothing_beats_in_both():
    points = [(1.0, 5.0), (2.0, 4.0), (1.5, 3.0), (3.0, 1.0), (3.0, 0.5), (2.0, 4.0)]
    assert pareto_front(points) == [0, 1, 5, 3]
