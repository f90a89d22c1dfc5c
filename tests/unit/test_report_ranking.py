"""Pairs of confused classes against scikit-learn, and the choice of classes and examples."""

import numpy as np
from sklearn.metrics import confusion_matrix

from longtail.metrics import Outcome
from longtail.report.examples import choose_examples
from longtail.report.ranking import confusion_of, extremes, merged_confusion, taken_for


def outcome(labels: list[int], predictions: list[int], sure: list[float] | None = None) -> Outcome:
    n = len(labels)
    return Outcome(
        labels=np.array(labels),
        predictions=np.array(predictions),
        confidences=np.array(sure or [0.5] * n),
        ranks=np.zeros(n, dtype=np.int64),
    )


def test_pairs_are_the_filled_cells_of_the_matrix_and_merging_sums_its_blocks() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 12, (2, 500))
    matrix = confusion_matrix(labels, predictions, labels=range(12))
    pairs = confusion_of(outcome(labels.tolist(), predictions.tolist()), num_classes=12)
    full = merged_confusion(pairs, range(12), cells=12)
    np.testing.assert_array_equal(full, matrix)
    blocks = merged_confusion(pairs, [label // 4 for label in range(12)], cells=3)
    np.testing.assert_array_equal(blocks, matrix.reshape(3, 4, 3, 4).sum(axis=(1, 3)))


def test_a_class_is_taken_for_the_one_that_it_is_called_most_often() -> None:
    pairs = confusion_of(outcome([0, 0, 0, 1, 2], [1, 2, 2, 0, 2]), num_classes=3)
    assert taken_for(pairs) == {0: (2, 2), 1: (0, 1)}


def test_no_class_is_both_best_and_worst() -> None:
    def report(accuracies: list[float | None]) -> dict:
        classes = [{"train": 10 - label} for label in range(len(accuracies))]
        per_class = [{"images": 0 if a is None else 9, "accuracy": a} for a in accuracies]
        return {"chosen": "x", "classes": classes, "variants": {"x": {"per_class": per_class}}}

    assert extremes(report([0.5, None, 0.2, 0.9])) == ([2], [3])
    assert extremes(report([0.5, 0.5, 0.5, 0.5])) == ([3, 2], [0, 1])
    worst, best = extremes(report([i / 20 for i in range(20)]))
    assert worst == list(range(8)) and best == list(range(19, 11, -1))


def test_mistakes_of_the_worst_and_right_answers_of_the_best_come_first() -> None:
    said = outcome([0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 0], [0.9, 0.3, 0.6, 0.7, 0.8, 0.99])
    found = choose_examples(said, worst=[0], best=[1], num_classes=2, limit=2)
    assert [(e.shown_with, e.kind, e.position) for e in found] == [
        (0, "mistake", 2),
        (0, "mistake", 1),
        (0, "lookalike", 4),
        (1, "right", 4),
        (1, "right", 3),
        (1, "lookalike", 0),
    ]
