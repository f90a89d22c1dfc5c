"""How many images a split takes of each class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail import quotas
from longtail.errors import LongtailError
from longtail.profiles import TailLaw, class_ranks

NAMES = ["ant", "bee", "cat"]
EXP = TailLaw("exp", imbalance_factor=4.0, ranks=class_ranks(3, seed=None))  # n, n / 2, n / 4


@given(share=st.floats(0.01, 0.99), totals=st.lists(st.integers(0, 10_000), min_size=1))
def test_a_share_is_within_half_an_image_and_small_classes_give_one(share, totals):
    totals = np.array(totals)
    quota = quotas.stratified_quota(totals, share=share)
    large = share * totals >= 1
    assert np.all(np.abs(quota - share * totals)[large] <= 0.5 + 1e-9)
    assert np.all(quota[totals >= 3] >= 1)


def test_a_share_of_zero_takes_nothing():
    assert quotas.stratified_quota(np.array([100, 3]), share=0.0).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("distribution", "per_class", "share", "expected"),
    [
        ("as_is", None, None, [40, 30, 20]),
        ("as_is", None, 0.1, [4, 3, 2]),
        ("balanced", 7, None, [7, 7, 7]),
        ("balanced", None, None, [20, 20, 20]),
        ("long_tailed", 16, None, [16, 8, 4]),
    ],
)
def test_test_sets_as_they_come_balanced_and_long_tailed(distribution, per_class, share, expected):
    quota = quotas.test_quota(
        np.array([40, 30, 20]), distribution=distribution, per_class=per_class, share=share, law=EXP
    )
    assert quota.tolist() == expected


def test_validation_by_number_by_share_or_all():
    totals = np.array([40, 30, 20])
    assert quotas.val_quota(totals, per_class=5, share=None).tolist() == [5, 5, 5]
    assert quotas.val_quota(totals, per_class=None, share=0.5).tolist() == [20, 15, 10]
    assert quotas.val_quota(totals, per_class=None, share=None).tolist() == [40, 30, 20]


def test_training_without_a_law_takes_all_and_with_one_as_much_as_fits():
    available = np.array([100, 30, 25])
    take_all = quotas.train_quota(available, law=None, n_max=None, names=NAMES)
    fitted = quotas.train_quota(available, law=EXP, n_max=None, names=NAMES)
    assert take_all.tolist() == [100, 30, 25]
    assert fitted.tolist() == [61, 30, 15]


def test_a_class_with_too_few_images_is_named_with_both_numbers_and_the_way_out():
    with pytest.raises(LongtailError, match=r"bee \(wanted 40, available 30\).*max_per_class 61"):
        quotas.train_quota(np.array([100, 30, 25]), law=EXP, n_max=80, names=NAMES)


def test_a_class_that_the_law_leaves_empty_is_refused_and_named():
    with pytest.raises(
        LongtailError, match=r"1 of 3 classes .*0 training images: cat.*lift_to_one"
    ):
        quotas.train_quota(np.array([100, 30, 25]), law=EXP, n_max=3, names=NAMES)


def test_a_class_that_val_and_test_have_emptied_names_them_and_not_the_law():
    with pytest.raises(LongtailError, match=r"0 training images: cat; split.val and split.test"):
        quotas.train_quota(np.array([9, 9, 0]), law=EXP, n_max=None, names=NAMES)
