"""The tables of validation: what makes a row an offender."""

import pandas as pd

from longtail.validation.tables import (
    classes_table,
    duplicates_table,
    schema_table,
    shards_table,
    splits_table,
)

COLUMNS = ["index", "id", "shard", "row", "label"]


def manifest(ids: str, labels: list[int]) -> pd.DataFrame:
    size = len(ids)
    return pd.DataFrame(
        {
            "index": range(size),
            "id": list(ids),
            "shard": 0,
            "row": range(size),
            "label": labels,
            "class_name": [f"class{label}" for label in labels],
            "source_path": [f"{number}.png" for number in range(size)],
            "source_split": ["train"] * (size - 1) + ["test"],
            "phash": "0" * 16,
        }
    )


def parts(rows: pd.DataFrame, train: list[int], val: list[int], test: list[int]) -> dict:
    chosen = {"train": train, "val": val, "test": test}
    return {name: rows[COLUMNS].iloc[positions] for name, positions in chosen.items()}


def test_rows_that_agree_with_the_manifest_have_no_difference() -> None:
    rows = manifest("abcd", [0, 0, 1, 1])
    table = splits_table(parts(rows, [2, 0], [1], [3]), rows)
    assert table["difference"].tolist() == ["none"] * 4
    assert table["also_in"].tolist() == ["none"] * 4
    assert table["class_name"].tolist() == ["class1", "class0", "class0", "class1"]


def test_the_first_column_that_differs_is_named() -> None:
    rows = manifest("abcdef", [0] * 6)
    tables = parts(rows, [0, 1, 2, 3, 4], [], [5])
    train = tables["train"].reset_index(drop=True)
    for position, (column, value) in enumerate(
        [("index", 99), ("id", "x"), ("shard", 7), ("row", 0), ("label", 5)]
    ):
        train.loc[position, column] = value
    table = splits_table(tables | {"train": train}, rows)
    assert table["difference"].tolist() == ["index", "id", "shard", "row", "label", "none"]


def test_the_split_that_has_the_image_already_is_named() -> None:
    rows = manifest("abc", [0, 0, 0])
    table = splits_table(parts(rows, [0, 1, 1], [2], [0]), rows)
    assert table["also_in"].tolist() == ["none", "none", "train", "none", "train"]


def test_duplicates_are_one_row_an_image_however_many_copies_there_are() -> None:
    rows = manifest("aabcca", [0, 1, 0, 1, 1, 0])
    table = duplicates_table(rows, splits_table(parts(rows, [0, 1, 2, 3], [4], [5]), rows))
    assert table[["id", "copies", "labels", "splits", "source_splits"]].values.tolist() == [
        ["a", 3, 2, 2, 2],
        ["c", 2, 1, 2, 1],
    ]
    assert table["indices"].tolist() == ["0, 1, 5", "3, 4"]
    assert table["in_splits"].tolist() == ["train, test", "train, val"]


def test_an_image_outside_of_the_splits_is_in_none_of_them() -> None:
    rows = manifest("aab", [0, 0, 0])
    table = duplicates_table(rows, splits_table(parts(rows, [0], [], [2]), rows))
    assert table[["copies", "splits"]].values.tolist() == [[2, 1]]


def test_without_duplicates_the_table_is_empty() -> None:
    rows = manifest("abc", [0, 0, 0])
    assert duplicates_table(rows, splits_table(parts(rows, [0], [1], [2]), rows)).empty


def test_classes_are_counted_from_the_tables_and_compared_with_the_profile() -> None:
    rows = manifest("abcd", [0, 0, 0, 1])
    entry = {"group": "few", "planned": 2, "train": 2, "val": 0, "test": 1}
    profile = {"classes": [{"name": "x", **entry}]}
    splits = splits_table(parts(rows, [0, 1], [], [2, 3]), rows)
    table = classes_table(profile, splits, classes=["x", "y"])
    assert table["counts"].tolist() == ["2 / 0 / 1", "0 / 0 / 1"]
    assert table["profile_counts"].tolist() == ["2 / 0 / 1", "-1 / -1 / -1"]
    assert table["profile_name"].tolist() == ["x", ""]


def test_shards_must_reach_the_last_row_that_the_manifest_names() -> None:
    rows = manifest("abc", [0, 0, 0]).assign(shard=[0, 0, 1], row=[0, 1, 0])
    table = shards_table(rows, {0: "2", 1: "no such file"}.__getitem__)
    assert table.values.tolist() == [[0, "2", "2"], [1, "1", "no such file"]]


def test_an_unreadable_table_and_a_missing_profile_are_rows_of_the_schema() -> None:
    table = schema_table({"manifest": "not Parquet"}, None)
    assert ["manifest.parquet", "(all)", "readable Parquet", "not Parquet"] in table.values.tolist()
    assert set(table.loc[table["file"] == "profile.json", "found"]) == {"absent"}
