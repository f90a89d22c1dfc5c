"""Laws against published totals and their own limits; groups against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.profiles import (
    TailLaw,
    class_ranks,
    exponential_counts,
    group_by_edges,
    group_by_thirds,
    group_classes,
    pareto_counts,
    step_counts,
)

SHAPES = ("exp", "step", "pareto")
IMBALANCE_FACTORS = (10, 20, 50, 100, 200)


def law(shape, *, classes=10, factor=100.0, seed=None, lift_to_one=False):
    ranks = class_ranks(classes, seed=seed)
    return TailLaw(shape, imbalance_factor=factor, ranks=ranks, lift_to_one=lift_to_one)


@pytest.mark.parametrize(
    ("classes", "n_max", "totals"),
    [
        (100, 500, (19573, 15907, 12608, 10847, 9502)),
        (10, 5000, (20431, 17023, 13996, 12406, 11203)),
    ],
)
def test_exponential_totals_are_those_of_cifar_lt(classes, n_max, totals):
    for factor, total in zip(IMBALANCE_FACTORS, totals, strict=True):
        counts = exponential_counts(classes, n_max=n_max, imbalance_factor=factor)
        assert counts.sum() == total
        assert counts.max() == n_max
        assert counts.min() == n_max // factor


def test_step_totals_are_those_of_cifar_100_lt():
    totals = [step_counts(100, n_max=500, imbalance_factor=f).sum() for f in IMBALANCE_FACTORS]
    assert totals == [27500, 26250, 25500, 25250, 25100]


@pytest.mark.parametrize("root", [2, 3, 7, 10])
def test_of_three_classes_the_middle_one_has_n_max_over_the_root_of_the_factor(root):
    counts = exponential_counts(3, n_max=1000, imbalance_factor=root**2)
    assert counts.tolist() == [1000, 1000 // root, 1000 // root**2]


def test_exponential_counts_from_450_a_class_and_a_lifted_test_set_from_50():
    train = exponential_counts(100, n_max=450, imbalance_factor=100)
    assert (train.sum(), train.min()) == (9754, 4)
    test = law("exp", classes=100, lift_to_one=True).counts(50)
    thirds = np.array(group_by_thirds(train))
    assert test.sum() == 1051
    sums = {name: (test[thirds == name].sum(), (thirds == name).sum()) for name in set(thirds)}
    assert sums == {"head": (844, 33), "middle": (169, 33), "tail": (38, 34)}


def test_pareto_is_close_to_imagenet_lt():
    """The real set: 115,846 images in 1000 classes of 1280..5, 385 / 479 / 136 by group."""
    counts = pareto_counts(1000, n_max=1280, imbalance_factor=256, alpha=6.0)
    assert (counts.max(), counts.min()) == (1280, 5)
    assert counts.sum() == pytest.approx(115_846, rel=0.01)
    names, groups = group_classes(counts, scheme="many_medium_few", edges={})
    sizes = [groups.count(name) for name in names]
    assert sizes[0] == 385
    np.testing.assert_allclose(sizes, [385, 479, 136], atol=12)


@pytest.mark.parametrize("shape", SHAPES)
@given(classes=st.integers(1, 40), n_max=st.integers(1, 3000), factor=st.floats(1, 500, width=32))
def test_laws_fall_from_n_max_to_n_max_over_the_imbalance_factor(shape, classes, n_max, factor):
    counts = law(shape, classes=classes, factor=factor).counts(n_max)
    assert counts[0] == n_max
    assert np.all(np.diff(counts) <= 0)
    if classes > 1:
        # The reference's form of the exponential law loses an image where 1 / factor rounds down.
        assert counts[-1] == int(n_max * (1 / factor) if shape == "exp" else n_max / factor)


@pytest.mark.parametrize("shape", ["step", "pareto"])
def test_the_smallest_class_has_the_whole_quotient_of_whole_numbers(shape):
    pairs = [(n_max, factor) for factor in range(1, 201) for n_max in range(factor, 501)]
    for n_max, factor in pairs:
        assert law(shape, classes=2, factor=factor).counts(n_max).tolist()[1] == n_max // factor


@pytest.mark.parametrize("shape", SHAPES)
def test_without_imbalance_every_law_is_balanced(shape):
    assert law(shape, factor=1.0).counts(37).tolist() == [37] * 10


@pytest.mark.parametrize("shape", SHAPES)
@given(n_max=st.integers(0, 400), seed=st.integers(0, 50))
def test_the_largest_supported_law_fits_and_the_next_does_not(shape, n_max, seed):
    tail = law(shape, factor=20.0, seed=seed)
    available = tail.counts(n_max)
    largest = tail.largest_n_max(available)
    assert largest >= n_max
    assert np.all(tail.counts(largest) <= available)
    assert np.any(tail.counts(largest + 1) > available)


def test_lifting_changes_only_counts_of_zero():
    plain, lifted = (law("exp", lift_to_one=lift).counts(50) for lift in (False, True))
    assert plain.min() == 0
    assert np.array_equal(lifted[plain > 0], plain[plain > 0])
    assert set(lifted[plain == 0]) == {1}


def test_a_class_order_seed_permutes_which_class_has_which_count():
    plain, shuffled = law("exp").counts(500), law("exp", seed=3).counts(500)
    assert sorted(shuffled) == sorted(plain)
    assert not np.array_equal(shuffled, plain)
    assert np.array_equal(shuffled, law("exp", seed=3).counts(500))


def test_many_medium_few_at_their_borders():
    names, groups = group_classes(
        np.array([101, 100, 20, 19, 0]), scheme="many_medium_few", edges={}
    )
    assert list(names) == ["many", "medium", "few"]
    assert groups == ["many", "medium", "medium", "few", "few"]


@pytest.mark.parametrize(
    ("factor", "sizes"),
    [(10, [69, 31, 0]), (50, [41, 41, 18]), (100, [35, 35, 30]), (200, [30, 31, 39])],
)
def test_group_sizes_of_cifar_100_lt(factor, sizes):
    counts = exponential_counts(100, n_max=500, imbalance_factor=factor)
    names, groups = group_classes(counts, scheme="many_medium_few", edges={})
    assert [groups.count(name) for name in names] == sizes


def test_thirds_are_by_count_and_ties_keep_label_order():
    assert group_by_thirds(np.array([5, 90, 5, 40, 5, 5, 70])) == [
        *("middle", "head", "tail", "middle", "tail", "tail", "head")
    ]


def test_custom_edges_name_the_groups_from_most_to_least_images():
    names, groups = group_classes(
        np.array([132, 133, 0]), scheme="edges", edges={"small": 0, "large": 133}
    )
    assert list(names) == ["large", "small"]
    assert groups == ["small", "large", "small"]


def test_edges_that_leave_counts_without_a_group_are_refused():
    with pytest.raises(ValueError, match="must be 0"):
        group_by_edges(np.array([3]), edges={"large": 133})
