"""What decides a promotion, at and around every bound."""

import numpy as np
import pytest

from longtail import gating
from longtail.errors import LongtailError

GROUPS = ["many", "few"]
LABELS = np.array([0] * 20 + [1] * 20)


def predictions(*, many: int, few: int) -> np.ndarray:
    """20 images a class, so many of each right."""
    return np.array([0] * many + [1] * (20 - many) + [1] * few + [0] * (20 - few))


def check(passed: bool | None) -> gating.Check:
    return gating.Check("c", passed, None, None, "")


def compare(
    candidate: np.ndarray,
    champion: np.ndarray,
    *,
    min_gain: float = 0.0,
    max_group_loss: dict[str, float] | None = None,
    groups: list[str] = GROUPS,
) -> list[gating.Check]:
    return gating.comparison(
        candidate,
        champion,
        LABELS,
        groups=groups,
        min_gain=min_gain,
        max_group_loss=max_group_loss or {},
    )


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
    assert gating.outcome([check(p) for p in passed]) == expected


@pytest.mark.parametrize(("value", "passed"), [(0.5, True), (0.4999, False), (None, None)])
def test_a_floor_is_inclusive_and_an_empty_group_is_undecided(value, passed):
    metrics = {"all": {}, "few": {"accuracy": value}}
    (found,) = gating.floors(
        metrics,
        min_balanced_accuracy=None,
        min_group_accuracy={"few": 0.5},
        max_calibration_error=None,
    )
    assert (found.passed, found.value, found.bound) == (passed, value, 0.5)
    assert "few accuracy" in found.reason and "0.5000" in found.reason


@pytest.mark.parametrize(("error", "passed"), [(0.1, True), (0.1001, False)])
def test_calibration_error_has_a_ceiling(error, passed):
    (found,) = gating.floors(
        {"all": {"calibration_error": error}},
        min_balanced_accuracy=None,
        min_group_accuracy={},
        max_calibration_error=0.1,
    )
    assert found.passed is passed


def test_the_same_predictions_are_no_gain():
    same = predictions(many=15, few=5)
    (gain,) = compare(same, same)
    assert gain.value == 0 and gain.passed is False


def test_gain_is_the_difference_of_the_means_of_class_accuracies():
    (gain,) = compare(predictions(many=18, few=10), predictions(many=20, few=6))
    assert gain.value == pytest.approx((18 / 20 + 10 / 20) / 2 - (20 / 20 + 6 / 20) / 2)
    assert gain.passed is True


def test_a_gain_of_just_the_bound_is_not_above_it_whatever_the_rounding():
    # 0.8 - 0.75 is 0.050000000000000044 in floats.
    (gain,) = compare(predictions(many=16, few=16), predictions(many=15, few=15), min_gain=0.05)
    assert gain.passed is False


def test_a_group_may_lose_just_its_bound_whatever_the_rounding():
    checks = compare(
        predictions(many=15, few=20),
        predictions(many=16, few=4),
        max_group_loss={"many": 0.05, "few": 0.0},
    )
    few, many = checks[1:]
    assert many.passed is True and many.value == pytest.approx(0.05)
    assert few.passed is True and few.value == pytest.approx(-0.8)


def test_a_gain_bought_with_too_much_of_a_group_fails_there():
    gain, many = compare(
        predictions(many=10, few=20), predictions(many=20, few=0), max_group_loss={"many": 0.1}
    )
    assert gain.passed is True and many.passed is False
    assert "0.5000" in many.reason and "1.0000" in many.reason


def test_a_group_without_test_images_is_undecided():
    (_, medium) = compare(
        predictions(many=20, few=20), predictions(many=0, few=0), max_group_loss={"medium": 0.1}
    )
    assert medium.passed is None and medium.value is None


def test_an_unknown_group_is_an_error_with_the_nearest_name():
    with pytest.raises(LongtailError, match=r"gate\.min.*`fwe`.*did you mean `few`"):
        gating.require_groups({"fwe": 0.1}, GROUPS, where="gate.min")
    with pytest.raises(LongtailError, match="the groups are many, few"):
        gating.require_groups(["zzz"], GROUPS, where="gate.min")


def test_split_digest_knows_images_and_labels_but_no_order():
    digest = gating.split_digest(["a", "b"], np.array([0, 1]))
    assert gating.split_digest(["b", "a"], np.array([1, 0])) == digest
    assert gating.split_digest(["a", "b"], np.array([1, 0])) != digest
    assert gating.split_digest(["a"], np.array([0])) != digest
