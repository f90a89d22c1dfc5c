"""Candidate against champion: what is claimed, of how many at once, and of whom nothing can be."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from longtail.gating.checks import Check
from longtail.gating.comparison import gain, group_gains, group_losses, worst_class
from longtail.gating.paired import Paired, each_class, stratified
from longtail.gating.score import lower_end, p_above, p_below, upper_end

TAIL = 0.025


def table(*rows: tuple[int, int, int]) -> Paired:
    """Of every class: images, gains, losses; the other images both have right."""
    images, gains, losses = np.array(rows).T
    return Paired(images, gains, losses, images - gains - losses)


def losses(paired: Paired, groups: list[str], **margins: float) -> dict[str, Check]:
    found = group_losses(paired, groups=groups, max_group_loss=margins, confidence=0.95)
    return {check.name.partition(" ")[0]: check for check in found}


def worst(paired: Paired, *, max_loss: float, min_images: int = 1) -> Check:
    names = [f"c{label}" for label in range(len(paired.images))]
    return worst_class(
        paired, names=names, max_loss=max_loss, min_images=min_images, confidence=0.95
    )


def test_the_same_answers_are_neither_a_gain_nor_a_loss():
    check = gain(table((100, 0, 0), (100, 0, 0)), min_gain=0.0, confidence=0.95)
    assert check.passed is None and check.value == 0
    assert check.interval is not None and check.interval[0] == -check.interval[1] < 0


@pytest.mark.parametrize(("gains", "lost"), [(40, 20), (35, 25), (25, 35), (20, 40)])
def test_a_gain_in_equal_classes_is_decided_as_by_mcnemar(gains, lost):
    rows = [(100, gains // 5, lost // 5)] * 5
    check = gain(table(*rows), min_gain=0.0, confidence=0.95)
    p = mcnemar([[500, gains], [lost, 0]], exact=False, correction=False).pvalue
    assert check.passed is ((gains > lost) if p < 0.05 else None)


def test_nothing_changed_is_promoted_in_at_most_one_of_forty():
    rng = np.random.default_rng(0)
    promoted = 0
    for _ in range(1000):
        gains, lost, _ = rng.multinomial(40, (0.1, 0.1, 0.8), size=10).T
        drawn = table(*zip([40] * 10, gains, lost, strict=True))
        promoted += gain(drawn, min_gain=0.0, confidence=0.95).passed is True
    assert promoted / 1000 <= 0.04  # 0.025 and three standard errors


def test_what_is_said_of_groups_holds_together():
    paired = table((400, 18, 10), (400, 10, 12), (400, 8, 30), (400, 20, 2), (400, 4, 6))
    groups = ["a", "b", "c", "d", "e"]
    margins = {"a": 0.01, "b": 0.02, "c": 0.02, "d": 0.0, "e": 0.03}
    found = losses(paired, groups, **margins)
    sample, bounds = each_class(paired), -np.array(list(margins.values()))
    safe = multipletests(p_above(sample, difference=bounds), alpha=TAIL, method="holm")[0]
    lost = multipletests(p_below(sample, difference=bounds), alpha=TAIL, method="holm")[0]
    assert [found[g].passed is True for g in groups] == safe.tolist()
    assert [found[g].passed is False for g in groups] == lost.tolist()
    assert {check.passed for check in found.values()} == {True, None}


def test_a_claim_on_its_own_may_fail_among_others():
    paired = table((1000, 20, 22), (1000, 90, 90), (1000, 90, 90))
    alone = losses(paired, ["a", "b", "c"], a=0.016)["a"]
    among = losses(paired, ["a", "b", "c"], a=0.016, b=0.01, c=0.01)["a"]
    assert alone.passed is True and among.passed is None
    assert alone.interval is not None and among.interval is not None
    assert among.interval[0] < alone.interval[0]


def test_a_group_is_measured_by_its_images():
    paired = table((300, 0, 30), (10, 5, 0), (50, 0, 0))
    found = losses(paired, ["a", "a", "b"], a=0.1)["a"]
    assert found.value == pytest.approx((5 - 30) / 310)
    whole = stratified(paired.only(np.array([0, 1])), weighting="images")
    expected = (lower_end(whole, tail=TAIL), upper_end(whole, tail=TAIL))
    assert found.interval == pytest.approx(tuple(map(float, expected)))


def test_a_group_without_test_images_is_undecided_and_weighs_on_no_other():
    paired = table((100, 5, 5), (0, 0, 0))
    found = losses(paired, ["many", "few"], many=0.1, few=0.1)
    assert found["few"].passed is None and found["few"].value is None
    assert found["many"] == losses(paired, ["many", "few"], many=0.1)["many"]
    assert losses(paired, ["many", "few"], few=0.1)["few"].passed is None


def test_a_group_that_is_too_small_can_still_be_seen_to_fall():
    small = losses(table((12, 0, 0)), ["few"], few=0.05)["few"]
    assert small.passed is None and "12 test images are too few" in small.reason
    fallen = losses(table((12, 0, 12)), ["few"], few=0.05)["few"]
    assert fallen.passed is False and "too few" not in fallen.reason


def test_the_worst_class_passes_if_each_is_shown_to_fall_by_less():
    paired = table((100, 5, 5), (100, 2, 9), (100, 0, 0))
    low = lower_end(each_class(paired), tail=TAIL)
    least = -float(low.min())
    passing = worst(paired, max_loss=least + 1e-6)
    assert passing.passed is True and passing.value == pytest.approx(-0.07)
    assert passing.reason.startswith("c1, the worst of 3 classes with at least 1 test images")
    assert worst(paired, max_loss=least - 1e-6).passed is None


def test_the_worst_class_fails_by_holm_over_all_classes():
    fallen, others = (100, 0, 40), [(100, 3, 3)] * 99
    alone, among = table(fallen), table(fallen, *others)
    high = float(upper_end(each_class(alone), tail=TAIL)[0])
    corrected = float(upper_end(each_class(alone), tail=TAIL / 100)[0])
    between = -(high + corrected) / 2
    assert worst(alone, max_loss=between).passed is False
    assert worst(among, max_loss=between).passed is None
    failing = worst(among, max_loss=-corrected - 1e-6)
    assert failing.passed is False and failing.reason.startswith("c0, the worst of 100 classes")


def test_all_classes_that_fall_are_named():
    found = worst(table((50, 0, 45), (50, 1, 1), (50, 0, 50)), max_loss=0.2)
    assert found.passed is False and found.value == -1.0
    assert found.reason.endswith("; likewise c0")


def test_classes_with_few_images_are_left_out_and_that_is_said():
    paired = table((100, 1, 1), (3, 0, 3), (0, 0, 0), (29, 0, 29))
    found = worst(paired, max_loss=0.3, min_images=30)
    assert found.passed is True and "3 with fewer are not judged" in found.reason
    none = worst(paired, max_loss=0.3, min_images=101)
    assert none.passed is None and "no class has 101 test images, the most is 100" in none.reason


def test_a_margin_that_no_class_of_its_size_can_show_is_said_to_be_so():
    found = worst(table((30, 0, 0), (500, 0, 0)), max_loss=0.05)
    assert found.passed is None and "30 test images are too few" in found.reason
    assert "it takes at least 73" in found.reason


@pytest.mark.parametrize(("gains", "lost"), [(40, 15), (30, 25), (15, 40)])
def test_a_gain_of_a_group_is_decided_as_by_mcnemar_on_its_images(gains, lost):
    paired = table((500, 100, 0), (300, gains, lost))  # what happens to `many` says nothing of few
    (check,) = group_gains(
        paired, groups=["many", "few"], min_group_gain={"few": 0.0}, confidence=0.95
    )
    p = mcnemar([[245, gains], [lost, 0]], exact=False, correction=False).pvalue
    assert check.passed is ((gains > lost) if p < 0.05 else None)
    assert check.name == "few gain against the champion"


def test_the_gain_of_a_group_without_test_images_is_undecided():
    paired = table((100, 20, 0), (0, 0, 0))
    (check,) = group_gains(
        paired, groups=["many", "few"], min_group_gain={"few": 0.0}, confidence=0.95
    )
    assert check.passed is None and check.value is None
