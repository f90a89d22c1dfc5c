"""Group metrics: limits, what other libraries say, and what has no value."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
)

from longtail.metrics import (
    GROUP_METRICS,
    Outcome,
    balanced_accuracy,
    balanced_accuracy_interval,
    calibration_error,
    class_metrics,
    group_metrics,
    join_outcomes,
    outcome_of,
    wilson_interval,
)


def outcome(labels: list[int], predictions: list[int], **other: list[float]) -> Outcome:
    n = len(labels)
    return Outcome(
        labels=np.array(labels, dtype=np.int64),
        predictions=np.array(predictions, dtype=np.int64),
        confidences=np.array(other.get("confidences", [0.5] * n)),
        ranks=np.array(other.get("ranks", np.not_equal(labels, predictions)), dtype=np.int64),
    )


def measure(what: Outcome, classes: list[int], num_classes: int) -> dict:
    return group_metrics(what, classes, num_classes=num_classes, confidence=0.95, bins=15)


@pytest.mark.parametrize(("hits", "images"), [(0, 3), (3, 3), (7, 40), (999, 1000), (0, 1)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilson_interval_is_scipys(hits: int, images: int, confidence: float) -> None:
    expected = binomtest(hits, images).proportion_ci(confidence, method="wilson")
    low, high = wilson_interval(hits / images, images, confidence=confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert low <= hits / images <= high


def test_balanced_interval_of_one_class_is_wilsons() -> None:
    alone = balanced_accuracy_interval(np.array([20]), np.array([13]), confidence=0.9)
    assert alone == pytest.approx(wilson_interval(13 / 20, 20, confidence=0.9))


def test_balanced_interval_of_equal_classes_is_that_of_the_pooled_images() -> None:
    equal = balanced_accuracy_interval(np.full(6, 10), np.full(6, 4), confidence=0.95)
    assert equal == pytest.approx(wilson_interval(24 / 60, 60, confidence=0.95))


@pytest.mark.parametrize("hits", [0, 2])
def test_balanced_interval_has_a_width_when_every_class_is_all_or_nothing(hits: int) -> None:
    low, high = balanced_accuracy_interval(np.full(4, 2), np.full(4, hits), confidence=0.95)
    assert 0.0 <= low <= hits / 2 <= high <= 1.0
    assert high - low > 0.1


@pytest.mark.parametrize(
    ("images", "rates"),
    [
        (np.full(10, 40), np.linspace(0.99, 0.8, 10)),
        (np.full(100, 100), np.linspace(0.8, 0.05, 100)),
        (np.array([89, 70, 60, 40, 30, 20, 10, 5, 5, 4]), np.linspace(0.99, 0.5, 10)),
        (np.full(100, 5), np.linspace(1.0, 0.0, 100)),
    ],
)
def test_balanced_interval_covers_the_truth_about_as_often_as_it_says(
    images: np.ndarray, rates: np.ndarray
) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        low, high = balanced_accuracy_interval(images, rng.binomial(images, rates), confidence=0.95)
        covered += low <= rates.mean() <= high
    assert 0.91 <= covered / 1000 <= 0.985


def test_balanced_interval_leaves_out_classes_without_images() -> None:
    there = balanced_accuracy_interval(np.array([9, 4]), np.array([5, 4]), confidence=0.95)
    beside = balanced_accuracy_interval(np.array([9, 0, 4]), np.array([5, 0, 4]), confidence=0.95)
    assert beside == there


def test_balanced_accuracy_is_scikit_learns_over_the_classes_present() -> None:
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 7, 200), rng.integers(0, 7, 200)
    assert balanced_accuracy(predictions, labels, num_classes=9) == pytest.approx(
        balanced_accuracy_score(labels, predictions)
    )


def test_balanced_accuracy_of_nothing_is_an_error_and_not_zero() -> None:
    with pytest.raises(ValueError, match="no images"):
        balanced_accuracy(np.array([], dtype=int), np.array([], dtype=int), num_classes=3)


def test_outcomes_by_sorting_and_softmax() -> None:
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(50, 8)), rng.integers(0, 8, 50)
    found = outcome_of(logits, labels)
    order = np.argsort(-logits, axis=1)
    np.testing.assert_array_equal(found.predictions, order[:, 0])
    np.testing.assert_array_equal(found.ranks, np.argmax(order == labels[:, None], axis=1))
    np.testing.assert_allclose(found.confidences, softmax(logits, axis=1).max(axis=1))


def test_equal_logits_go_to_the_lower_label_in_prediction_and_rank() -> None:
    found = outcome_of(np.ones((3, 3)), np.array([0, 1, 2]))
    np.testing.assert_array_equal(found.predictions, [0, 0, 0])
    np.testing.assert_array_equal(found.ranks, [0, 1, 2])


def test_huge_logits_do_not_overflow() -> None:
    found = outcome_of(np.array([[1e4, -1e4], [-1e4, 1e4 + 1]]), np.array([0, 0]))
    np.testing.assert_array_equal(found.confidences, [1.0, 1.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="1 of 2 rows"):
        outcome_of(np.array([[0.0, bad], [0.0, 1.0]]), np.array([0, 1]))


def test_batches_joined_are_the_whole() -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(10, 4)), rng.integers(0, 4, 10)
    joined = join_outcomes([outcome_of(logits[:7], labels[:7]), outcome_of(logits[7:], labels[7:])])
    whole = outcome_of(logits, labels)
    np.testing.assert_array_equal(joined.ranks, whole.ranks)
    np.testing.assert_array_equal(joined.confidences, whole.confidences)


def test_an_empty_group_has_no_metrics() -> None:
    without_images = measure(outcome([0, 0, 1], [0, 1, 1]), [2], 3)
    assert without_images == {"classes": 1, "images": 0} | dict.fromkeys(GROUP_METRICS)
    assert measure(outcome([0, 0, 1], [0, 1, 1]), [], 3)["accuracy"] is None


def test_a_class_without_images_has_no_accuracy() -> None:
    per_class = class_metrics(outcome([0, 0], [0, 1]), num_classes=2, confidence=0.95)
    assert per_class[0]["accuracy"] == 0.5
    assert per_class[1] == {"images": 0, "correct": 0, "accuracy": None, "interval": None}


def test_all_classes_are_what_scikit_learn_says() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 6, 300)
    predictions = np.where(rng.random(300) < 0.6, labels, rng.integers(0, 6, 300))
    found = measure(outcome(list(labels), list(predictions)), list(range(6)), 6)
    assert found["accuracy"] == pytest.approx((labels == predictions).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert found["weighted_f1"] == pytest.approx(f1_score(labels, predictions, average="weighted"))
    assert found["mcc"] == pytest.approx(matthews_corrcoef(labels, predictions))
    assert found["cohen_kappa"] == pytest.approx(cohen_kappa_score(labels, predictions))


def test_predictions_that_are_all_alike_agree_by_chance_alone() -> None:
    found = measure(outcome([0, 1, 1, 2], [1, 1, 1, 1]), [0, 1, 2], 3)
    assert found["mcc"] == matthews_corrcoef([0, 1, 1, 2], [1, 1, 1, 1]) == 0
    assert found["cohen_kappa"] == 0


def test_thousands_of_classes_need_no_table_of_classes_by_classes() -> None:
    labels = list(range(8142)) * 3
    judged = outcome(labels, labels)
    tracemalloc.start()
    found = measure(judged, list(range(8142)), 8142)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["mcc"] == found["cohen_kappa"] == pytest.approx(1)
    assert peak < 8142 * 8142  # bytes: not even one a pair


def test_f1_of_a_group_pays_for_images_of_other_groups() -> None:
    # Class 2: its 2 images found, 2 of class 0 drawn in: precision 1/2, recall 1, F1 2/3.
    found = measure(outcome([0, 0, 0, 1, 2, 2], [0, 2, 2, 1, 2, 2]), [2], 3)
    assert found["accuracy"] == 1.0
    assert found["macro_f1"] == pytest.approx(2 / 3)


def test_pooled_and_balanced_accuracy_differ_on_uneven_classes() -> None:
    found = measure(outcome([0] * 8 + [1] * 2, [0] * 8 + [0, 1]), [0, 1], 2)
    assert found["accuracy"] == pytest.approx(0.9)
    assert found["balanced_accuracy"] == pytest.approx(0.75)


def test_agreement_of_one_class_and_top_5_of_five_classes_have_no_value() -> None:
    found = measure(outcome([3, 3], [3, 0]), [3], 5)
    assert found["mcc"] is None
    assert found["cohen_kappa"] is None
    assert found["top5_accuracy"] is None


def test_top_5_counts_ranks_below_five() -> None:
    found = measure(outcome([0, 0, 0, 0], [0, 1, 1, 1], ranks=[0, 4, 5, 9]), [0], 10)
    assert found["top5_accuracy"] == 0.5


def test_calibration_error_by_hand() -> None:
    # Bin (0.6, 0.8]: 2 images, confidence 0.7, accuracy 0.5. Bin (0.8, 1]: 2, 0.9, 1. The bound
    # 0.8 itself belongs to the lower bin.
    what = outcome([0, 0, 0, 0], [0, 1, 0, 0], confidences=[0.6 + 1e-9, 0.8, 0.85, 0.95])
    assert calibration_error(what, bins=5) == pytest.approx(0.5 * 0.2 + 0.5 * 0.1, abs=1e-6)


def test_calibration_error_is_0_where_confidence_is_accuracy_and_1_where_sure_and_wrong() -> None:
    honest = outcome([0] * 4, [0, 0, 0, 1], confidences=[0.75] * 4)
    assert calibration_error(honest, bins=15) == pytest.approx(0.0)
    sure = outcome([0] * 4, [1] * 4, confidences=[1.0] * 4)
    assert calibration_error(sure, bins=15) == pytest.approx(1.0)
