"""Validate: what is wrong with images or split is found, named and written down."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from longtail.artifacts import Images, Split, Validation
from longtail.config.split import ValidateConfig
from longtail.errors import LongtailError
from longtail.steps.validate import validate
from tests.steps.validate_fixtures import Picture, digits, encode, moved, write_artifacts


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Validate pictures, after a change to their artifacts; return the result and the error."""

    def validated(
        pictures: list[Picture],
        change: Callable[[Images, Split], None] | None = None,
        **config: Any,
    ) -> tuple[Validation, dict[str, Any], str]:
        images, split = write_artifacts(tmp_path, pictures)
        if change:
            change(Images(images), Split(split))
        out = Validation(tmp_path / "validation")
        error = ""
        try:
            validate(ValidateConfig(**config), images=images, split=split, out=out.root)
        except LongtailError as raised:
            error = str(raised)
        rules = json.loads(out.result.read_text())["rules"]
        return out, {rule["name"]: rule for rule in rules}, error

    return validated


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_table(path: Path, column: str, row: int, value: Any) -> None:
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    field = table.schema.field(column)
    pq.write_table(table.set_column(place, field, pa.array(values, field.type)), path)


def test_a_sound_split_is_sealed_with_the_digest_of_its_profile(run: Any, tmp_path: Path) -> None:
    out, rules, error = run(digits())
    assert error == ""
    assert all(rule["passed"] for rule in rules.values() if rule["level"] == "error")
    profile = (tmp_path / "split" / "profile.json").read_bytes()
    assert json.loads(out.seal.read_text()) == {"split": hashlib.sha256(profile).hexdigest()}


def test_the_same_input_gives_the_same_bytes_and_pages_need_no_network(tmp_path: Path) -> None:
    pictures = digits()
    written = []
    for name in ("one", "two"):
        images, split = write_artifacts(tmp_path / name, [*pictures, moved(pictures[0], label=1)])
        out = tmp_path / name / "validation"
        validate(ValidateConfig(), images=images, split=split, out=out)
        written.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()})
    assert written[0] == written[1]
    pages = {
        path.name: page.decode() for path, page in written[0].items() if path.suffix == ".html"
    }
    assert {"index.html", "manifest.html", "splits.html", "classes.html"} <= set(pages)
    for page in pages.values():
        assert not re.search(r"https?:|<script|src=", page)
        assert set(re.findall(r'href="([^"#]+)"', page)) <= set(pages)


def other_manifest(images: Images, split: Split) -> None:
    edit_json(split.profile, lambda profile: profile.update(manifest="0" * 64))


def no_such_label(images: Images, split: Split) -> None:
    edit_table(images.manifest, "label", 2, 3)


def other_class_name(images: Images, split: Split) -> None:
    edit_table(images.manifest, "class_name", 0, "eight")


def repeated_index(images: Images, split: Split) -> None:
    edit_table(images.manifest, "index", 1, 0)


def other_id(images: Images, split: Split) -> None:
    edit_table(split.val, "id", 0, "f" * 64)


def label_of_split(images: Images, split: Split) -> None:
    edit_table(split.train, "label", 0, 7)


def image_in_two_splits(images: Images, split: Split) -> None:
    test, train = pq.read_table(split.test), pq.read_table(split.train)
    pq.write_table(pa.concat_tables([test, train.slice(0, 1)]), split.test)


def fewer_than_planned(images: Images, split: Split) -> None:
    edit_json(split.profile, lambda profile: profile["classes"][1].update(planned=7))


def other_count_in_profile(images: Images, split: Split) -> None:
    edit_json(split.profile, lambda profile: profile["classes"][2].update(test=4))


def class_missing_in_profile(images: Images, split: Split) -> None:
    edit_json(split.profile, lambda profile: profile["classes"].pop())


def missing_shard(images: Images, split: Split) -> None:
    images.shard(1).unlink()


def damaged_shard(images: Images, split: Split) -> None:
    content = images.shard(0).read_bytes()
    start = content.index(b"\x89PNG")
    images.shard(0).write_bytes(content[: start + 40] + b"\0" * 40 + content[start + 80 :])


@pytest.mark.parametrize(
    ("change", "rule", "offender"),
    [
        (other_manifest, "manifest_digest", f"profile_says {'0' * 64}"),
        (no_such_label, "manifest_labels", "index 2, source_path 2.png, label 3"),
        (other_class_name, "manifest_class_names", "class_name eight, listed_name zero"),
        (repeated_index, "manifest_index_unique", "index 0, source_path 1.png"),
        (other_id, "split_rows_in_manifest", "split val, index 12, difference id"),
        (label_of_split, "split_labels", "split train, index 0, label 7"),
        (image_in_two_splits, "index_in_one_split", "index 0, split test, also_in train"),
        (fewer_than_planned, "counts_follow_law", "name one, train 6, planned 7"),
        (other_count_in_profile, "profile_counts", "counts 3 / 2 / 3, profile_counts 3 / 2 / 4"),
        (class_missing_in_profile, "class_list", "label 2, name two"),
        (missing_shard, "shards_complete", "shard 1, expected 16, found no such file"),
        (damaged_shard, "images_decode", "index 0, split train, class_name zero"),
        (damaged_shard, "bytes_match_ids", "index 0, split train, class_name zero"),
    ],
)
def test_an_error_names_rule_offender_and_fix_and_leaves_no_seal(
    run: Any, change: Callable[[Images, Split], None], rule: str, offender: str
) -> None:
    out, rules, error = run(digits(), change)
    found = rules[rule]
    assert found["level"] == "error" and found["passed"] is False
    assert found["value"] >= 1
    assert any(offender in text for text in found["offenders"]), found["offenders"]
    assert rule in error and found["fix"] in error and found["offenders"][0] in error
    assert not out.seal.exists()
    assert offender.split(",")[0] in (out.docs / "index.html").read_text()


def without_column(images: Images, split: Split) -> None:
    pq.write_table(pq.read_table(images.manifest).drop_columns("phash"), images.manifest)


def other_type(images: Images, split: Split) -> None:
    table = pq.read_table(split.test)
    wide = pc.cast(table["row"], pa.int64())
    pq.write_table(table.set_column(3, "row", wide), split.test)


def without_table(images: Images, split: Split) -> None:
    split.val.unlink()


def broken_table(images: Images, split: Split) -> None:
    split.train.write_bytes(b"not parquet")


def without_plan(images: Images, split: Split) -> None:
    edit_json(split.profile, lambda profile: profile["classes"][0].pop("planned"))


@pytest.mark.parametrize(
    ("change", "offender"),
    [
        (without_column, "manifest.parquet, field phash, expected string not null, found no such"),
        (other_type, "test.parquet, field row, expected int32 not null, found int64"),
        (without_table, "val.parquet, field (all), expected readable Parquet, found no such file"),
        (broken_table, "train.parquet, field (all), expected readable Parquet, found not Parquet"),
        (without_plan, "profile.json, field classes[].planned, expected present, found absent"),
    ],
)
def test_with_a_wrong_schema_nothing_else_is_judged(
    run: Any, change: Callable[[Images, Split], None], offender: str
) -> None:
    out, rules, error = run(digits(), change)
    assert offender in rules["schema"]["offenders"][0]
    assert "schema" in error
    others = [rule for name, rule in rules.items() if name != "schema"]
    assert {rule["passed"] for rule in others} == {None}
    assert {rule["value"] for rule in others} == {None}
    assert "not judged" in (out.docs / "index.html").read_text()
    assert not out.seal.exists()


def test_a_missing_class_list_says_what_to_run(tmp_path: Path) -> None:
    images, split = write_artifacts(tmp_path, digits())
    Images(images).classes.unlink()
    with pytest.raises(LongtailError, match="run `longtail ingest`"):
        validate(ValidateConfig(), images=images, split=split, out=tmp_path / "out")


def test_a_seal_does_not_outlive_a_later_failure(tmp_path: Path) -> None:
    images, split = write_artifacts(tmp_path, digits())
    out = Validation(tmp_path / "validation")
    validate(ValidateConfig(), images=images, split=split, out=out.root)
    assert out.seal.exists()
    with pytest.raises(LongtailError, match="min_test_per_class"):
        validate(ValidateConfig(min_test_per_class=4), images=images, split=split, out=out.root)
    assert not out.seal.exists()


def duplicated() -> list[Picture]:
    """CIFAR-100 in small: copies across splits, under another label, and both."""
    pictures = digits()
    zero, one, two = pictures[0], pictures[17], pictures[28]
    return [
        *pictures,
        moved(zero, split="test"),
        moved(one, split="test", label=2),
        moved(two, label=0),
        moved(two, label=1),
    ]


def test_copies_across_splits_and_under_two_labels_are_counted_by_image(run: Any) -> None:
    out, rules, error = run(duplicated())
    assert [rules[name]["value"] for name in ("exact_duplicates", "conflicting_labels")] == [3, 2]
    assert rules["id_in_one_split"]["value"] == 2
    assert rules["id_in_one_split"]["level"] == "error" and "id_in_one_split" in error
    assert rules["conflicting_labels"]["level"] == "warning" and "conflicting_labels" not in error
    assert any("classes one, two" in text for text in rules["conflicting_labels"]["offenders"])
    statistics = json.loads(out.result.read_text())["statistics"]
    assert statistics["duplicates"] == {
        "groups": 3,
        "conflicting_labels": 2,
        "across_splits": 2,
        "across_source_splits": 2,
    }


def test_levels_of_duplicates_are_the_users(run: Any) -> None:
    out, rules, error = run(
        duplicated(), on_cross_split_duplicates="warn", on_conflicting_labels="stop"
    )
    assert rules["id_in_one_split"]["level"] == "warning"
    assert "conflicting_labels" in error and "id_in_one_split" not in error
    assert not out.seal.exists()


def test_warnings_let_the_flow_go_on_and_are_logged(run: Any, caplog: Any) -> None:
    out, rules, error = run(duplicated(), on_cross_split_duplicates="warn")
    assert error == "" and out.seal.exists()
    assert not rules["id_in_one_split"]["passed"]
    assert "(images with the same bytes stand in one split): 2 broke it" in caplog.text


def photograph() -> Image.Image:
    """A smooth random picture of 64 x 64 pixels, unlike any digit."""
    pixels = np.random.default_rng(3).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)


def test_a_slightly_changed_copy_in_another_split_is_a_near_duplicate(run: Any) -> None:
    changed = photograph()
    changed.putpixel((0, 0), (0, 255, 0))
    pictures = [
        *digits(),
        Picture(encode(photograph()), 1, "train"),
        Picture(encode(changed), 1, "test"),
    ]
    _, rules, error = run(pictures)
    assert rules["exact_duplicates"]["passed"]
    assert rules["near_duplicates"]["level"] == "warning" and error == ""
    assert any(
        text.startswith("index 36, split train") and "near_index 37, near_split test" in text
        for text in rules["near_duplicates"]["offenders"]
    )


def test_a_faulty_picture_is_a_warning_and_a_common_trait_is_not(run: Any) -> None:
    black = Picture(encode(Image.new("RGB", (8, 8))), 0, "train")
    long = Picture(encode(Image.effect_noise((90, 8), 80)), 1, "val")
    out, rules, error = run([*digits(), black, long])
    assert error == ""
    assert "index 36, split train" in rules["quality_dark"]["offenders"][0]
    assert [rules[f"quality_{name}"]["value"] for name in ("dark", "odd_aspect_ratio")] == [1, 1]
    assert rules["quality_grayscale"]["passed"]
    sample = json.loads(out.result.read_text())["statistics"]["sample"]
    assert sample["images"] == 38 and sample["quality"]["grayscale"] == 38
    assert "grayscale" in sample["typical"]


@pytest.mark.parametrize("checks", [0, 5])
def test_the_sample_has_the_size_that_was_asked_for(run: Any, checks: int) -> None:
    out, rules, _ = run(digits(), image_checks=checks)
    assert json.loads(out.result.read_text())["statistics"]["sample"]["images"] == checks
    assert rules["images_decode"]["passed"]


def test_statistics_describe_groups_and_an_empty_group_has_none(run: Any) -> None:
    out, _, _ = run(digits())
    groups = json.loads(out.result.read_text())["statistics"]["groups"]
    assert groups["all"]["width"] == {"min": 8, "median": 8.0, "max": 8}
    assert [groups["medium"][name] for name in ("classes", "train", "val", "test")] == [1, 12, 2, 3]
    assert groups["few"]["modes"] == {"L": 19} and groups["few"]["formats"] == {"PNG": 19}
    assert groups["many"]["images"] == 0 and groups["many"]["width"] is None


def test_names_from_the_data_are_text_in_the_pages(run: Any) -> None:
    def tagged(images: Images, split: Split) -> None:
        edit_table(images.manifest, "class_name", 0, "<script>alert(1)</script>")

    out, _, _ = run(digits(), tagged)
    assert all("<script" not in page.read_text() for page in out.docs.iterdir())
