"""Laws, sources of val and test, duplicates, groups, errors: files in, files out."""

import hashlib
import random

import pyarrow.parquet as pq
import pytest

from longtail.artifacts import SPLIT_SCHEMA, Images
from longtail.errors import LongtailError
from longtail.files import file_digest
from tests.steps.split_fixtures import run_split, write_images

DIGITS = {
    "law": "exp",
    "imbalance_factor": 20,
    "max_per_class": 120,
    "val": {"take_from": "train", "per_class": 15},
    "test": {"take_from": "pool", "distribution": "balanced", "per_class": 40},
}
NATURAL = {
    "law": "natural",
    "val": {"share": 0.15},
    "test": {"distribution": "as_is", "share": 0.15},
}
AS_IS = {"law": "natural", "imbalance_factor": 100.0, "max_per_class": None}  # over DIGITS


@pytest.fixture
def digits(tmp_path):
    """10 classes of 178 images, shuffled."""
    labels = random.Random(1).sample(list(range(10)) * 178, 1780)
    return write_images(tmp_path / "digits", labels)


@pytest.fixture
def official(tmp_path):
    """3 classes with splits of the source: 60 train, 10 val and 12 test rows each."""
    splits = ["train"] * 180 + ["val"] * 30 + ["test"] * 36
    return write_images(tmp_path / "official", [0, 1, 2] * 82, source_splits=splits)


def assert_disjoint(result):
    parts = [result.ids(part) for part in ("train", "val", "test")]
    assert len(set().union(*parts)) == sum(map(len, parts))


def digest(content):
    return hashlib.sha256(str(content).encode()).hexdigest()


def test_long_tailed_training_beside_balanced_val_and_test(digits, tmp_path):
    result = run_split(digits, tmp_path / "split", **DIGITS)
    assert result.counts("train") == [120, 86, 61, 44, 31, 22, 16, 11, 8, 6]
    assert result.counts("train") == result.counts("planned")
    assert result.counts("val") == [15] * 10
    assert result.counts("test") == [40] * 10
    assert result.profile["imbalance_factor"] == 20.0
    assert_disjoint(result)


def test_tables_hold_the_manifest_rows_in_order_and_the_profile_its_digest(digits, tmp_path):
    result = run_split(digits, tmp_path / "split", **DIGITS)
    manifest = pq.read_table(Images(digits).manifest)
    for part, table in result.tables.items():
        assert table.schema == SPLIT_SCHEMA
        assert result.indexes(part) == sorted(result.indexes(part))
        assert table == manifest.take(result.indexes(part)).select(SPLIT_SCHEMA.names)
    assert result.profile["manifest"] == file_digest(Images(digits).manifest)


def test_the_same_manifest_gives_the_same_bytes(digits, tmp_path):
    for name in ("one", "two"):
        run_split(digits, tmp_path / name, **DIGITS)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["profile.json", "test.parquet", "train.parquet", "val.parquet"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_hashed_selection_chooses_the_same_images_in_any_file_order(tmp_path):
    rows = [(row % 4, f"image {row}") for row in range(400)]
    chosen = []
    for name in ("as listed", "shuffled"):
        labels, contents = zip(*rows, strict=True)
        images = write_images(tmp_path / name, labels, contents=contents)
        result = run_split(images, tmp_path / f"{name} split", imbalance_factor=10)
        chosen.append({part: result.ids(part) for part in result.tables})
        random.Random(0).shuffle(rows)
    assert chosen[0] == chosen[1]


def test_another_seed_chooses_other_images_of_the_same_number(digits, tmp_path):
    one, two = (run_split(digits, tmp_path / str(s), seed=s, **DIGITS) for s in (0, 1))
    assert one.totals() == two.totals()
    assert all(one.ids(part) != two.ids(part) for part in one.tables)


def test_the_test_split_does_not_move_when_training_changes(digits, tmp_path):
    one = run_split(digits, tmp_path / "one", **DIGITS)
    two = run_split(digits, tmp_path / "two", **DIGITS | {"law": "step", "max_per_class": 60})
    assert one.ids("test") == two.ids("test")
    assert one.ids("val") == two.ids("val")
    assert two.counts("train") == [60] * 5 + [3] * 5


def test_without_max_per_class_the_law_is_as_large_as_the_classes_allow(digits, tmp_path):
    result = run_split(digits, tmp_path / "split", **DIGITS | {"max_per_class": None})
    assert result.counts("train")[0] == 178 - 40 - 15


def test_pareto_reaches_both_ends_of_the_imbalance_factor(digits, tmp_path):
    counts = run_split(digits, tmp_path / "split", **DIGITS | {"law": "pareto"}).counts("train")
    assert (counts[0], counts[-1]) == (120, 6)
    assert counts == sorted(counts, reverse=True)


def test_a_class_order_seed_moves_the_head(digits, tmp_path):
    plain = run_split(digits, tmp_path / "plain", **DIGITS)
    shuffled = run_split(digits, tmp_path / "shuffled", class_order_seed=1, **DIGITS)
    assert shuffled.counts("train") != plain.counts("train")
    assert sorted(shuffled.counts("train")) == sorted(plain.counts("train"))


def test_natural_splits_every_class_70_15_15_and_small_classes_on_all_sides(tmp_path):
    images = write_images(tmp_path / "images", [0] * 100 + [1] * 20 + [2] * 3 + [3])
    result = run_split(images, tmp_path / "split", **NATURAL)
    assert result.counts("train") == [70, 14, 1, 1]
    assert result.counts("val") == [15, 3, 1, 0]
    assert result.counts("test") == [15, 3, 1, 0]


def test_given_keeps_the_splits_of_the_source(official, tmp_path):
    result = run_split(
        official,
        tmp_path / "split",
        law="given",
        val={"take_from": "source"},
        test={"take_from": "source", "distribution": "as_is"},
    )
    assert result.indexes("train") == list(range(180))
    assert result.indexes("val") == list(range(180, 210))
    assert result.indexes("test") == list(range(210, 246))


def test_given_with_val_out_of_train_never_takes_other_rows(official, tmp_path):
    result = run_split(
        official,
        tmp_path / "split",
        law="given",
        val={"take_from": "train", "share": 0.1},
        test={"take_from": "source", "distribution": "as_is"},
    )
    assert sorted(result.indexes("train") + result.indexes("val")) == list(range(180))
    assert result.counts("val") == [6, 6, 6]


def test_given_without_a_train_split_takes_what_is_left(tmp_path):
    splits = ["test"] * 10 + [None] * 30
    images = write_images(tmp_path / "images", [0, 1] * 20, source_splits=splits)
    result = run_split(
        images,
        tmp_path / "split",
        law="given",
        val={"per_class": 2},
        test={"take_from": "source", "distribution": "as_is"},
    )
    assert result.totals() == {"train": 26, "val": 4, "test": 10}


def test_part_of_the_source_val_and_test_leaves_the_rest_out_of_training(official, tmp_path):
    result = run_split(
        official,
        tmp_path / "split",
        imbalance_factor=5,
        val={"take_from": "source", "per_class": 4},
        test={"take_from": "source", "distribution": "balanced", "per_class": 7},
    )
    assert result.counts("val") == [4, 4, 4]
    assert result.counts("test") == [7, 7, 7]
    assert max(result.indexes("train")) < 180
    assert set(result.indexes("val")) <= set(range(180, 210))
    assert set(result.indexes("test")) <= set(range(210, 246))


def test_a_test_set_balanced_without_a_number_has_what_the_smallest_class_has(tmp_path):
    labels = [0] * 50 + [1] * 50 + [0] * 9 + [1] * 5
    splits = ["train"] * 100 + ["test"] * 14
    images = write_images(tmp_path / "images", labels, source_splits=splits)
    result = run_split(images, tmp_path / "split", imbalance_factor=2, test={"take_from": "source"})
    assert result.counts("test") == [5, 5]


def test_long_tailed_training_from_450_and_test_from_50_a_class(tmp_path):
    images = write_images(tmp_path / "images", list(range(100)) * 500)
    result = run_split(
        images,
        tmp_path / "split",
        imbalance_factor=100,
        max_per_class=450,
        lift_to_one=True,
        val={"take_from": "unused", "per_class": 10},
        test={"distribution": "long_tailed", "per_class": 50},
        groups={"scheme": "thirds"},
    )
    by_group = dict.fromkeys(result.profile["group_names"], 0)
    for entry in result.profile["classes"]:
        by_group[entry["group"]] += entry["test"]
    assert result.totals()["train"] == 9754
    assert min(result.counts("train")) == 4
    assert by_group == {"head": 844, "middle": 169, "tail": 38}
    assert_disjoint(result)


@pytest.mark.parametrize("selection", ["hashed", "cao"])
@pytest.mark.parametrize("take_from", ["train", "unused"])
def test_copies_never_stand_on_two_sides_of_a_pool(tmp_path, selection, take_from):
    """A third of 600 images exist two or three times, some of them under another label."""
    rng = random.Random(0)
    contents = [rng.randrange(400) for _ in range(600)]
    labels = [(content if rng.random() < 0.9 else rng.randrange(400)) % 4 for content in contents]
    images = write_images(tmp_path / "images", labels, contents=contents)
    result = run_split(
        images,
        tmp_path / "split",
        imbalance_factor=4,
        max_per_class=40,
        selection=selection,
        val={"take_from": take_from, "per_class": 10},
        test={"distribution": "balanced", "per_class": 20},
    )
    parts = [result.ids(part) for part in ("train", "val", "test")]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    duplicates = result.profile["duplicates"]
    assert result.counts("train") == [40, 25, 15, 10]
    assert result.counts("test") == [20] * 4
    assert duplicates["groups"] == sum(contents.count(c) > 1 for c in set(contents))
    assert duplicates["left_across_splits"] == []
    kept_out = {digest(contents[index]) for index in duplicates["dropped"]}
    assert kept_out and kept_out <= parts[1] | parts[2]


def test_hashed_training_drops_copies_of_the_official_test_images(tmp_path):
    labels, contents = [0, 1] * 20 + [0, 1], [*range(40), 4, 7]
    splits = ["train"] * 40 + ["test"] * 2
    images = write_images(tmp_path / "images", labels, contents=contents, source_splits=splits)
    result = run_split(
        images,
        tmp_path / "split",
        **NATURAL | {"test": {"take_from": "source", "distribution": "as_is"}},
    )
    assert result.profile["duplicates"]["dropped"] == [4, 7]
    assert_disjoint(result)


def test_given_training_keeps_copies_of_the_official_test_images_and_lists_them(tmp_path):
    labels, contents = [0, 1] * 20 + [0, 1], [*range(40), 4, 7]
    splits = ["train"] * 40 + ["test"] * 2
    images = write_images(tmp_path / "images", labels, contents=contents, source_splits=splits)
    result = run_split(
        images,
        tmp_path / "split",
        law="given",
        val={"per_class": 5},
        test={"take_from": "source", "distribution": "as_is"},
    )
    assert result.totals() == {"train": 30, "val": 10, "test": 2}
    assert result.profile["duplicates"]["left_across_splits"] == sorted(map(digest, (4, 7)))
    assert not result.ids("val") & result.ids("test")


def test_custom_groups_and_super_classes_are_in_the_profile(tmp_path):
    images = write_images(tmp_path / "images", [0, 1] * 100, super_of=[1, 0])
    result = run_split(
        images,
        tmp_path / "split",
        imbalance_factor=10,
        groups={"scheme": "edges", "edges": {"rare": 0, "common": 30}},
    )
    assert result.profile["group_names"] == ["common", "rare"]
    assert [entry["group"] for entry in result.profile["classes"]] == ["common", "rare"]
    assert [entry["super_label"] for entry in result.profile["classes"]] == [1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_per_class": 130}, r"training: class 0 \(wanted 130, available 123\).*123"),
        ({"val": {"per_class": 150}}, r"validation: class 0 \(wanted 150, available 138\)"),
        ({"test": {"per_class": 200}}, r"test: class 0 \(wanted 200, available 178\)"),
        ({"imbalance_factor": 500}, r"0 training images: .*class 9.*lift_to_one"),
        ({"test": {"take_from": "source"}}, "the source has no test split.*pool"),
        ({"val": {"take_from": "source"}}, "the source has no val split.*train or unused"),
        (AS_IS | {"val": {"take_from": "unused", "per_class": 1}}, "leaves no image"),
        (AS_IS | {"test": {"per_class": 163}}, "0 training images.*split.test"),
        ({"val": {}}, "one of per_class"),
        ({"val": {"per_class": 1, "share": 0.1}}, "one of per_class"),
        ({"test": {}}, "set per_class"),
        ({"test": {"distribution": "as_is", "per_class": 3}}, "per_class: 3 has no meaning"),
        ({"law": "natural", "test": {"distribution": "long_tailed", "per_class": 9}}, "a law"),
        ({"groups": {"edges": {"large": 0}}}, "edges have no meaning"),
        ({"groups": {"scheme": "edges", "edges": {"large": 9}}}, "must be 0"),
        ({"groups": {"scheme": "edges", "edges": {"a": 0, "b": 0}}}, "two edges are equal"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing_behind(
    digits, tmp_path, changes, message
):
    out = tmp_path / "out" / "split"
    with pytest.raises(LongtailError, match=message):
        run_split(digits, out, **DIGITS | changes)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_class_whose_images_are_all_the_same_is_refused(tmp_path):
    images = write_images(
        tmp_path / "images", [0] * 10 + [1] * 4, contents=[*range(10), *["same"] * 4]
    )
    with pytest.raises(LongtailError, match=r"0 training images: class 1; .*copies"):
        run_split(images, tmp_path / "split", **NATURAL)


def test_a_missing_or_damaged_manifest_says_what_to_do(digits, tmp_path):
    with pytest.raises(LongtailError, match="run `longtail ingest`"):
        run_split(tmp_path / "nowhere", tmp_path / "split", **DIGITS)
    manifest = Images(digits).manifest
    table = pq.read_table(manifest)
    pq.write_table(table.take(list(range(len(table)))[::-1]), manifest)
    with pytest.raises(LongtailError, match="`index` does not ascend"):
        run_split(digits, tmp_path / "split", **DIGITS)
    pq.write_table(table.slice(0, 0), manifest)
    with pytest.raises(LongtailError, match="lists no images"):
        run_split(digits, tmp_path / "split", **DIGITS)
