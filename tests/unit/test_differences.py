"""What one model does better than another, as theorems."""

import numpy as np
import pytest
from scipy.stats import binomtest

from longtail.differences import by_class, by_group, overall
from longtail.gating.paired import pair

RNG = np.random.default_rng(3)
LABELS = np.repeat([0, 1, 2, 4], [40, 30, 5, 1])  # no image of class 3
NAMES = ["a", "b", "c", "d", "e"]
GROUPS = ["many", "many", "few", "few", "few"]


def paired(right, had):
    return pair(right, had, LABELS, num_classes=5)


@pytest.fixture
def answers():
    return RNG.random(len(LABELS)) < 0.8, RNG.random(len(LABELS)) < 0.5


def test_accuracies_are_counted_and_classes_without_images_left_out(answers):
    right, had = answers
    rows = {row.name: row for row in by_class(paired(right, had), names=NAMES, confidence=0.9)}
    assert set(rows) == {"a", "b", "c", "e"}
    for label, name in ((0, "a"), (1, "b"), (2, "c"), (4, "e")):
        inside = label == LABELS
        assert rows[name].images == inside.sum()
        assert rows[name].after == pytest.approx(right[inside].mean())
        assert rows[name].before == pytest.approx(had[inside].mean())


def test_the_groups_pool_images_and_the_whole_has_both_means(answers):
    right, had = answers
    groups = {row.name: row for row in by_group(paired(right, had), groups=GROUPS, confidence=0.9)}
    few = np.isin(LABELS, [2, 3, 4])
    expected = right[few].mean() - had[few].mean()
    assert groups["few"].difference == pytest.approx(expected)
    pooled, balanced = overall(paired(right, had), confidence=0.9)
    assert pooled.difference == pytest.approx(right.mean() - had.mean())
    by_label = [right[k == LABELS].mean() - had[k == LABELS].mean() for k in (0, 1, 2, 4)]
    assert balanced.difference == pytest.approx(np.mean(by_label))


def test_changing_sides_negates_everything(answers):
    right, had = answers
    there = by_group(paired(right, had), groups=GROUPS, confidence=0.95)
    back = by_group(paired(had, right), groups=GROUPS, confidence=0.95)
    opposite = {"better": "worse", "worse": "better", "": ""}
    for one, other in zip(there, back, strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), abs=1e-9)
        assert one.sure == opposite[other.sure]


def test_the_same_answers_differ_in_nothing_and_nothing_is_sure(answers):
    right, _ = answers
    for row in by_class(paired(right, right), names=NAMES, confidence=0.95):
        low, high = row.interval
        assert row.difference == 0 and low == pytest.approx(-high) and low < 0 and not row.sure


def test_classes_come_from_most_gained_to_most_lost_and_sure_ones_pass_an_exact_test():
    had = np.zeros(len(LABELS), bool)
    right = np.isin(LABELS, [0])  # all 40 images of class 0 gained
    had |= LABELS == 1  # all 30 of class 1 lost
    rows = by_class(paired(right, had), names=NAMES, confidence=0.95)
    assert rows[0].name == "a" and rows[-1].name == "b"
    assert {row.name: row.sure for row in rows} == {"a": "better", "b": "worse", "c": "", "e": ""}
    assert binomtest(40, 40).pvalue < 0.05 / 8  # exact McNemar, Bonferroni over both sides
