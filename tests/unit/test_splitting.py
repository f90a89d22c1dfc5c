"""Orders of preference, draws from them, and exact duplicates."""

import hashlib
import random

import numpy as np
import pyarrow as pa
import pytest

from longtail.duplicates import conflicting_groups, duplicates_report, id_words, same_image
from longtail.splitting import Allotment, cao_preference, hashed_preference, straddling


def sha(text):
    return hashlib.sha256(str(text).encode()).hexdigest()


def everything(size):
    return np.ones(size, dtype=bool)


def balanced_labels(classes, per_class):
    """Classes interleaved in the file, so that file order is not label order."""
    return np.tile(np.arange(classes, dtype=np.int32), per_class)


@pytest.mark.parametrize(
    ("label", "picks"),
    [(0, [90, 254, 283]), (50, [307, 484, 149]), (99, [348, 153, 363])],
)
def test_first_picks_of_the_standard_cifar_100_subset(label, picks):
    labels = balanced_labels(100, 500)
    place = cao_preference(labels, eligible=everything(50_000), seed=0)
    of_class = np.flatnonzero(labels == label)
    assert np.argsort(place[of_class])[:3].tolist() == picks


def test_the_standard_subset_does_not_depend_on_rows_that_are_not_eligible():
    labels = balanced_labels(5, 20)
    with_test_rows = np.concatenate([balanced_labels(5, 4), labels])
    eligible = np.arange(120) >= 20
    place = cao_preference(with_test_rows, eligible=eligible, seed=0)
    assert np.array_equal(place[20:], cao_preference(labels, eligible=everything(100), seed=0))


def test_hashed_order_depends_on_ids_and_seed_but_not_on_file_order():
    ids = [sha(i) for i in range(200)]
    shuffled = random.Random(0).sample(ids, len(ids))
    by_id, again, other = (
        dict(zip(order, hashed_preference(id_words(pa.array(order)), seed=seed), strict=True))
        for order, seed in ((ids, 1), (shuffled, 1), (ids, 2))
    )
    assert by_id == again
    assert sorted(ids, key=by_id.get) != sorted(ids, key=other.get)
    assert len(set(by_id.values())) == 200


def test_hashed_order_puts_each_image_first_equally_often():
    """Over 2000 seeds each of 4 images is first 500 times, give or take 5 standard deviations."""
    words = id_words(pa.array([sha(i) for i in range(4)]))
    first = [int(np.argmin(hashed_preference(words, seed=seed))) for seed in range(2000)]
    assert np.abs(np.bincount(first, minlength=4) - 500).max() < 5 * np.sqrt(2000 * 3 / 16)


def test_id_words_are_the_first_eight_bytes_also_of_a_slice():
    ids = [sha(i) for i in range(5)]
    expected = [int(i[:16], 16) for i in ids]
    assert id_words(pa.array(ids)).tolist() == expected
    assert id_words(pa.array(ids).slice(2, 2)).tolist() == expected[2:4]


@pytest.mark.parametrize("bad", ["", "abc", "G" + sha(0)[1:], sha(0).upper(), sha(0) + "0"])
def test_an_id_that_is_not_a_hash_is_named(bad):
    with pytest.raises(ValueError, match=f"'{bad}' is not a SHA-256"):
        id_words(pa.array([sha(1), bad]))


def test_draws_take_the_preferred_rows_of_each_class_from_either_end():
    labels = np.array([1, 0, 0, 1, 0], dtype=np.int32)
    preference = np.array([5, 9, 1, 2, 4])
    allotment = Allotment(labels, np.arange(5, dtype=np.int32), preference, classes=3)
    assert allotment.draw(np.array([1, 1, 0]), among=everything(5)).tolist() == [2, 3]
    last = allotment.draw(np.array([1, 0, 0]), among=everything(5), from_end=True)
    assert last.tolist() == [1]
    assert allotment.available(everything(5)).tolist() == [1, 1, 0]


def test_larger_draws_contain_smaller_ones():
    labels = balanced_labels(4, 50)
    preference = hashed_preference(id_words(pa.array([sha(i) for i in range(200)])), seed=0)
    drawn = [
        Allotment(labels, np.arange(200, dtype=np.int32), preference, classes=4).draw(
            np.full(4, count), among=everything(200)
        )
        for count in (5, 20)
    ]
    assert set(drawn[0]) < set(drawn[1])


def test_dropped_copies_are_no_longer_available_and_are_recorded():
    labels = np.array([0, 0, 1, 1], dtype=np.int32)
    copies = same_image(pa.array([sha("a"), sha("b"), sha("a"), sha("c")]))
    allotment = Allotment(labels, copies, np.arange(4), classes=2)
    drawn = allotment.draw(np.array([1, 0]), among=everything(4))
    allotment.drop_copies(drawn)
    assert drawn.tolist() == [0]
    assert allotment.available(everything(4)).tolist() == [1, 1]
    assert np.flatnonzero(allotment.dropped).tolist() == [2]


def test_straddling_groups_are_those_in_two_parts_not_those_twice_in_one():
    copies = np.array([0, 0, 1, 1, 2], dtype=np.int32)
    assert straddling(copies, [np.array([0, 1, 2]), np.array([3, 4])]).tolist() == [1]


def test_the_report_counts_groups_and_conflicts_and_names_ids_and_indexes():
    ids = pa.array([sha("a"), sha("b"), sha("a"), sha("b"), sha("c"), sha("d")])
    labels = np.array([0, 0, 0, 1, 1, 1], dtype=np.int32)
    copies = same_image(ids)
    assert conflicting_groups(copies, labels).tolist() == [1]
    report = duplicates_report(
        ids,
        np.arange(10, 16),
        labels,
        copies,
        dropped=np.array([False, False, True, False, False, False]),
        left=np.array([copies[3]]),
    )
    assert report == {
        "groups": 2,
        "conflicting_labels": 1,
        "dropped": [12],
        "left_across_splits": [sha("b")],
    }
