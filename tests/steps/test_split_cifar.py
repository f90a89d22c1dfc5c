"""The standard CIFAR-LT subsets, on manifests of the shape of CIFAR-100 and CIFAR-10."""

import random

import pytest

from tests.steps.split_fixtures import run_split, write_images

CIFAR_100, CIFAR_10 = (100, 500), (10, 5000)  # classes, training images of each
PUBLISHED = {
    CIFAR_100: {10: 19573, 20: 15907, 50: 12608, 100: 10847, 200: 9502},
    CIFAR_10: {10: 20431, 20: 17023, 50: 13996, 100: 12406, 200: 11203},
}


def training_labels(classes, per_class):
    return random.Random(0).sample(list(range(classes)) * per_class, classes * per_class)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """Images by shape: 50,000 shuffled training rows, then 10,000 test rows."""
    root = tmp_path_factory.mktemp("cifar")
    splits = ["train"] * 50_000 + ["test"] * 10_000
    return {
        (classes, per_class): write_images(
            root / str(classes),
            training_labels(classes, per_class) + list(range(classes)) * (10_000 // classes),
            source_splits=splits,
        )
        for classes, per_class in PUBLISHED
    }


def cifar_lt(images, out, *, factor, per_class=500, **values):
    return run_split(
        images,
        out,
        **{
            "law": "exp",
            "imbalance_factor": factor,
            "max_per_class": per_class,
            "selection": "cao",
            "val": {"take_from": "unused", "per_class": 20},
            "test": {"take_from": "source", "distribution": "as_is"},
        }
        | values,
    )


@pytest.mark.parametrize("shape", PUBLISHED, ids=["cifar100", "cifar10"])
def test_published_totals_and_nesting(cifar, tmp_path, shape):
    larger = None
    for factor, total in PUBLISHED[shape].items():
        out = tmp_path / str(factor)
        result = cifar_lt(cifar[shape], out, per_class=shape[1], factor=factor)
        assert result.totals()["train"] == total
        assert result.totals()["test"] == 10_000
        assert min(result.counts("train")) == shape[1] // factor
        chosen = set(result.indexes("train"))
        assert larger is None or chosen < larger
        larger = chosen


@pytest.mark.parametrize(
    ("factor", "total"), [(10, 27500), (20, 26250), (50, 25500), (100, 25250), (200, 25100)]
)
def test_published_step_totals(cifar, tmp_path, factor, total):
    result = cifar_lt(cifar[CIFAR_100], tmp_path / "split", factor=factor, law="step")
    assert result.totals()["train"] == total


def test_published_first_picks_are_all_that_a_small_enough_law_takes(cifar, tmp_path):
    labels = training_labels(*CIFAR_100)
    result = cifar_lt(
        cifar[CIFAR_100], tmp_path / "split", per_class=3, factor=1, val={"per_class": 5}
    )
    chosen = set(result.indexes("train"))
    for label, picks in {0: [90, 254, 283], 50: [307, 484, 149], 99: [348, 153, 363]}.items():
        of_class = [row for row, of_row in enumerate(labels) if of_row == label]
        assert {of_class[pick] for pick in picks} == chosen & set(of_class)


def test_published_group_sizes(cifar, tmp_path):
    profile = cifar_lt(cifar[CIFAR_100], tmp_path / "split", factor=100).profile
    groups = [entry["group"] for entry in profile["classes"]]
    assert [groups.count(name) for name in profile["group_names"]] == [35, 35, 30]


def test_unused_validation_is_balanced_except_where_nothing_is_left(cifar, tmp_path):
    result = cifar_lt(cifar[CIFAR_100], tmp_path / "split", factor=100)
    assert result.counts("val") == [0] + [20] * 99
    assert not set(result.indexes("val")) & set(result.indexes("train"))


def test_the_subset_is_the_same_whatever_the_validation_split(cifar, tmp_path):
    few, many = (
        cifar_lt(
            cifar[CIFAR_100],
            tmp_path / str(n),
            factor=50,
            val={"take_from": "unused", "per_class": n},
        )
        for n in (5, 60)
    )
    assert few.indexes("train") == many.indexes("train")
    assert set(few.indexes("val")) < set(many.indexes("val"))


def test_a_copy_in_the_official_test_split_stays_in_training_but_never_gets_into_val(tmp_path):
    """Test row 40 is a copy of row 0, and test row 41 of every image of class 1 but one."""
    images = write_images(
        tmp_path / "images",
        [0] * 20 + [1] * 20 + [0, 1],
        contents=[*range(21), *["left over"] * 19, 0, "left over"],
        source_splits=["train"] * 40 + ["test"] * 2,
    )
    result = cifar_lt(images, tmp_path / "split", per_class=18, factor=1)
    both = result.ids("train") & result.ids("test")
    duplicates = result.profile["duplicates"]
    assert result.counts("train") == [18, 18]
    assert duplicates["left_across_splits"] == sorted(both)
    assert len(both) >= 1
    assert duplicates["dropped"] == []
    assert not result.ids("val") & (result.ids("test") | result.ids("train"))
