"""What decides a promotion: outcomes, floors and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from longtail.errors import LongtailError
from longtail.gating import checks, floors
from longtail.gating.predictions import (
    Predictions,
    by_class,
    by_super_class,
    other_test_split,
    sorted_predictions,
)

GROUPS = ["many", "few"]
LABELS = np.array([0] * 20 + [1] * 20)


def model(*, many: int, few: int, confidence: float = 0.5) -> Predictions:
    """20 images a class, so many of each right."""
    predicted = [0] * many + [1] * (20 - many) + [1] * few + [0] * (20 - few)
    return sorted_predictions(
        [f"{i:02d}" for i in range(40)],
        labels=LABELS,
        predicted=np.array(predicted),
        confidences=np.full(40, confidence),
    )


def check_floors(candidate: Predictions, **bounds: object) -> list[checks.Check]:
    asked = {
        "min_balanced_accuracy": None,
        "min_group_accuracy": {},
        "max_calibration_error": None,
        **bounds,
    }
    return floors.floors(candidate, groups=GROUPS, bins=15, confidence=0.95, **asked)


def check(passed: bool | None) -> checks.Check:
    return checks.Check("c", passed, None, None, None, "")


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        ([True, True], "promote"),
        ([True, None], "hold"),
        ([True, False], "reject"),
        ([None, False], "reject"),
        ([], "hold"),
    ],
)
def test_outcome_is_that_of_the_worst_check_and_nothing_checked_holds(passed, expected):
    assert checks.outcome([check(p) for p in passed]) == expected


@pytest.mark.parametrize(
    ("bound", "passed", "words"),
    [
        (0.40, True, "is at or above"),
        (0.41, None, "straddles 0.4100: inconclusive"),
        (0.60, None, "straddles 0.6000: inconclusive"),
        (0.61, False, "is below"),
    ],
)
def test_the_interval_decides_and_not_the_value(bound, passed, words):
    found = checks.judge("few", 0.5, (0.4, 0.6), bound, what="few accuracy")
    assert found.passed is passed and found.interval == (0.4, 0.6)
    assert found.reason.startswith(f"few accuracy 0.5000 [0.4000, 0.6000] {words}")


@pytest.mark.parametrize(
    ("bound", "passed"), [(0.60, True), (0.59, None), (0.40, None), (0.39, False)]
)
def test_a_ceiling_is_a_floor_turned_over(bound, passed):
    found = checks.judge("e", 0.5, (0.4, 0.6), bound, what="error", ceiling=True)
    turned = checks.judge("e", -0.5, (-0.6, -0.4), -bound, what="error")
    assert found.passed is turned.passed is passed


@settings(deadline=None)
@given(value=st.floats(-1, 1), reach=st.floats(1e-6, 1), bound=st.floats(-1, 1))
def test_a_check_never_decides_against_its_value(value, reach, bound):
    passed = checks.judge("c", value, (value - reach, value + reach), bound, what="c").passed
    assert (passed is not True or value > bound) and (passed is not False or value < bound)


def test_a_group_floor_is_held_against_wilsons_interval():
    low, high = proportion_confint(12, 20, method="wilson")
    for floor, passed in ((low - 0.001, True), (low + 0.001, None), (high + 0.001, False)):
        (found,) = check_floors(model(many=20, few=12), min_group_accuracy={"few": floor})
        assert found.passed is passed and found.value == 0.6
        assert found.interval == pytest.approx((low, high))


def test_balanced_accuracy_of_equal_classes_has_wilsons_interval_of_all_images():
    (found,) = check_floors(model(many=14, few=14), min_balanced_accuracy=0.5)
    low, high = proportion_confint(28, 40, method="wilson")
    assert found.value == 0.7 and found.interval[1] == pytest.approx(high, abs=0.01)
    assert found.passed is True and low == pytest.approx(found.interval[0], abs=0.01)


def test_an_empty_group_is_undecided():
    (found,) = check_floors(model(many=20, few=20), min_group_accuracy={"medium": 0.1})
    assert found.passed is None and found.value is None and "no such images" in found.reason


def test_a_group_that_could_not_pass_if_all_were_right_is_said_to_be_too_small():
    (found,) = check_floors(model(many=20, few=20), min_group_accuracy={"few": 0.9})
    needed = next(n for n in range(20, 99) if proportion_confint(n, n, method="wilson")[0] >= 0.9)
    assert found.passed is None
    assert "20 test images are too few to decide this" in found.reason
    assert f"it takes at least {needed}" in found.reason


@pytest.mark.parametrize(("ceiling", "passed"), [(0.5, True), (0.25, None), (0.02, False)])
def test_calibration_error_has_a_ceiling(ceiling, passed):
    # 75 % of the images are right, and the model says 50 %.
    (found,) = check_floors(model(many=15, few=15), max_calibration_error=ceiling)
    assert found.value == pytest.approx(0.25) and found.passed is passed


def test_noise_alone_does_not_make_a_calibrated_model_fail():
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(300):
        confidence = rng.uniform(0.1, 1, size=200)
        bins = [{"images": 0, "confidence": None, "accuracy": None}]
        for part in np.array_split(np.sort(confidence), 10):
            right = float((rng.random(len(part)) < part).mean())
            entry = {"images": len(part), "confidence": float(part.mean()), "accuracy": right}
            bins.append(entry)
        error, (low, high) = floors.calibration(bins, confidence=0.95)
        assert 0 <= low <= error <= high <= 1
        rejected += low > 0
    assert rejected / 300 <= 0.025


def test_an_unknown_group_is_an_error_with_the_nearest_name():
    with pytest.raises(LongtailError, match=r"gate\.min.*`fwe`.*did you mean `few`"):
        checks.require_groups({"fwe": 0.1}, GROUPS, where="gate.min")
    with pytest.raises(LongtailError, match="known: many, few"):
        checks.require_groups(["zzz"], GROUPS, where="gate.min")


def table(ids: list[str], labels: list[int]) -> Predictions:
    found = np.array(labels)
    return sorted_predictions(ids, labels=found, predicted=found, confidences=found * 0.5)


def test_the_digest_knows_images_and_labels_but_no_order():
    digest = table(["a", "b"], [0, 1]).digest
    assert table(["b", "a"], [1, 0]).digest == digest
    assert table(["a", "b"], [1, 0]).digest != digest
    assert table(["a"], [0]).digest != digest


def test_predictions_about_other_images_are_refused():
    ours, theirs = table(["a", "b"], [0, 1]), table(["a", "c"], [0, 1])
    assert other_test_split(ours, ours) == ""
    with pytest.raises(LongtailError, match=r"another test split .*evaluate both on one"):
        by_class(ours, theirs, num_classes=2)
    with pytest.raises(LongtailError, match="another test split"):
        by_super_class(ours, theirs, super_of=np.array([0, 0]))


def test_a_super_class_is_right_if_any_of_its_classes_is_predicted():
    labels = np.array([0, 1, 2, 3])
    ids = [str(i) for i in range(4)]
    models = [
        sorted_predictions(ids, labels=labels, predicted=np.array(p), confidences=labels * 0.1)
        for p in ([1, 1, 0, 3], [0, 2, 2, 9])  # 9 is a class that only the second knows
    ]
    paired = by_super_class(*models, super_of=np.array([0, 0, 1, 1]))
    assert paired.images.tolist() == [2, 2]
    assert paired.gains.tolist() == [1, 1] and paired.losses.tolist() == [0, 1]
    assert paired.both.tolist() == [1, 0]
