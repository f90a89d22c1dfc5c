"""Parquet files, listings and split lists: columns, labels and names, right and wrong."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.artifacts import Images
from longtail.errors import LongtailError
from longtail.files import read_json
from tests.steps.ingest_fixtures import manifest, png, run_ingest, stored_bytes, write_tree

FINE, COARSE = [2, 0, 1, 0], [0, 1, 1, 1]
NAMES = {"fine": ["ant", "bee", "cat"], "coarse": ["pets", "insects"]}


def write_parquet(root: Path, name: str, columns: dict[str, Any]) -> None:
    root.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), root / name)


def embedded(seeds: list[int]) -> pa.Array:
    rows = [{"bytes": png(seed), "path": None} for seed in seeds]
    return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def hugging_face(tmp_path: Path) -> dict[str, Any]:
    root = tmp_path / "in"
    for name, first in (("test-0.parquet", 0), ("train-1.parquet", 10), ("train-0.parquet", 20)):
        images = embedded([first + offset for offset in range(4)])
        write_parquet(root, name, {"image": images, "fine": FINE, "coarse": COARSE})
    (root / "classes.json").write_text(json.dumps(NAMES))
    return {
        "kind": "parquet",
        "root": str(root),
        "files": {"test": "test*.parquet", "train": "train*.parquet"},
        "label_column": "fine",
        "super_label_column": "coarse",
        "classes_file": "classes.json",
    }


def test_parquet_rows_come_by_split_file_and_row(tmp_path: Path) -> None:
    images = run_ingest(tmp_path, hugging_face(tmp_path))
    table = manifest(images)
    order = [20, 21, 22, 23, 10, 11, 12, 13, 0, 1, 2, 3]
    assert stored_bytes(images) == [png(seed) for seed in order]
    assert table["source_split"].tolist() == ["train"] * 8 + ["test"] * 4
    assert table["source_path"].tolist()[3:5] == ["train-0.parquet#3", "train-1.parquet#0"]
    assert table["label"].tolist() == FINE * 3
    assert table["class_name"].tolist()[:3] == ["cat", "ant", "bee"]
    assert table["super_name"].tolist()[:3] == ["pets", "insects", "insects"]
    assert read_json(images.classes)["super_of"] == [1, 1, 0]


def test_plain_bytes_string_labels_and_no_split(tmp_path: Path) -> None:
    root = tmp_path / "in"
    labels = pa.array(["b", "a", "b"]).dictionary_encode()
    write_parquet(root, "x.parquet", {"image": [png(i) for i in range(3)], "label": labels})
    table = manifest(run_ingest(tmp_path, {"kind": "parquet", "root": str(root)}))
    assert table["label"].tolist() == [1, 0, 1]
    assert table["class_name"].tolist() == ["b", "a", "b"]
    assert table["source_split"].isna().all()


def test_rows_without_bytes_or_label_are_bad_images(tmp_path: Path) -> None:
    root = tmp_path / "in"
    struct = pa.array([None, {"bytes": None}, {"bytes": png(1)}, {"bytes": png(2)}])
    struct = struct.cast(pa.struct([("bytes", pa.binary())]))
    write_parquet(root, "x.parquet", {"image": struct, "label": [0, 0, None, 0]})
    source = {"kind": "parquet", "root": str(root)}
    images = run_ingest(tmp_path, source, on_bad_image="quarantine")
    assert manifest(images)["source_path"].tolist() == ["x.parquet#3"]
    reasons = pd.read_parquet(images.quarantine)["reason"].tolist()
    assert reasons == ["no bytes in the row", "no bytes in the row", "no label"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"label_column": "name"},
            "Column name is not in .*train-0.parquet, which has image, fine",
        ),
        ({"image_column": "fine"}, "is int64; needed are encoded images"),
        ({"files": {"train": "*.parquet", "test": "test*"}}, "match test-0.parquet"),
        ({"files": {"val": "val*"}}, "matches val.*there are classes.json"),
        ({"classes_file": "gone.json"}, "gone.json is missing"),
        ({"label_column": "image"}, "labels are int or string"),
        ({"label_column": "coarse", "super_label_column": None}, "key coarse"),
    ],
)
def test_parquet_mistakes_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    source = hugging_face(tmp_path)
    if "key" in message:
        (Path(source["root"]) / "classes.json").write_text(json.dumps({"fine": NAMES["fine"]}))
    with pytest.raises(LongtailError, match=message):
        run_ingest(tmp_path, {**source, **change}, on_bad_image="quarantine")


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_parquet_column_that_is_there_twice_is_named(tmp_path: Path, column: str) -> None:
    columns = {"image": pa.array([png(1)]), "label": pa.array(["a"])}
    names = [*columns, column]
    (tmp_path / "in").mkdir()
    table = pa.table([columns[name] for name in names], names=names)
    pq.write_table(table, tmp_path / "in" / "x.parquet")
    with pytest.raises(LongtailError, match=f"x.parquet has two columns {column}; rename one"):
        run_ingest(tmp_path, {"kind": "parquet", "root": str(tmp_path / "in")})


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1, 3], None, "1 of 4 labels have no image: 2"),
        ([1, 2, 3], None, "1 of 4 labels have no image: 0"),
        ([-1, 0, 1], None, r"outside of 0\.\.1: -1"),
        ([0, 1, 2], ["a", "b"], r"outside of 0\.\.1: 2"),
        ([0, 1, 1], ["a", "b", "c"], r"no image: 2 \(c\)"),
        (["a", "b", "z"], ["a", "b"], "not among the 2 stated names: z"),
        (["a", "b", "a"], ["a", "b", "c"], "have no image: c"),
        ([0, 1, 1], ["a", "a"], "same name: a"),
    ],
)
def test_labels_that_make_no_classes(
    tmp_path: Path, labels: list[Any], names: list[str] | None, message: str
) -> None:
    root = tmp_path / "in"
    write_parquet(root, "x.parquet", {"image": [png(i) for i in range(3)], "label": labels})
    source: dict[str, Any] = {"kind": "parquet", "root": str(root)}
    if names is not None:
        (root / "names.json").write_text(json.dumps({"label": names}))
        source["classes_file"] = "names.json"
    with pytest.raises(LongtailError, match=message):
        run_ingest(tmp_path, source, on_bad_image="quarantine")


def listing(tmp_path: Path, table: str, text: str, **columns: str) -> dict[str, Any]:
    files = {"pictures/one, two.png": png(1), "pictures/2.png": png(2), "pictures/3.png": png(3)}
    root = write_tree(tmp_path / "in", files)
    (root / table).write_text(text, encoding="utf-8")
    return {"kind": "listing", "root": str(root), "table": table, **columns}


CSV = (
    "path,name,above,part,note\n"
    '"pictures/one, two.png",NA,x,test,\n'
    "pictures/3.png,weiß,x,train,1\n"
    "pictures/2.png,NA,x,,2\n"
)
COLUMNS = {"label_column": "name", "super_label_column": "above", "split_column": "part"}


def test_a_csv_listing_keeps_its_order_and_its_names(tmp_path: Path) -> None:
    images = run_ingest(tmp_path, listing(tmp_path, "list.csv", CSV, **COLUMNS))
    table = manifest(images)
    assert stored_bytes(images) == [png(1), png(3), png(2)]
    assert table["class_name"].tolist() == ["NA", "weiß", "NA"]
    assert table["super_name"].tolist() == ["x"] * 3
    assert [s if isinstance(s, str) else None for s in table["source_split"]] == [
        "test",
        "train",
        None,
    ]


def test_a_parquet_listing_is_the_same(tmp_path: Path) -> None:
    source = listing(tmp_path, "list.csv", CSV, **COLUMNS)
    frame = pd.read_csv(Path(source["root"]) / "list.csv", keep_default_na=False)
    frame["part"] = frame["part"].replace({"": None})
    one = manifest(run_ingest(tmp_path, source))
    frame.to_parquet(Path(source["root"]) / "list.parquet")
    two = manifest(run_ingest(tmp_path, {**source, "table": "list.parquet"}))
    pd.testing.assert_frame_equal(one, two)


def test_digits_in_a_csv_are_numbers_only_if_all_labels_are(tmp_path: Path) -> None:
    rows = "path,label\npictures/2.png,{}\npictures/3.png,{}\n"
    numbers = manifest(run_ingest(tmp_path, listing(tmp_path, "n.csv", rows.format(1, 0))))
    assert numbers["label"].tolist() == [1, 0]
    codes = manifest(run_ingest(tmp_path, listing(tmp_path, "c.csv", rows.format("007", "12"))))
    assert codes["class_name"].tolist() == ["007", "12"]
    with pytest.raises(LongtailError, match="have no image: 0"):
        run_ingest(tmp_path, listing(tmp_path, "g.csv", rows.format(1, 2)))


def test_missing_files_and_escapes_are_bad_images(tmp_path: Path) -> None:
    (tmp_path / "outside.png").write_bytes(png(7))
    rows = [
        "path,label",
        "pictures/2.png,a",
        "pictures/gone.png,a",
        "../outside.png,a",
        f"{tmp_path}/outside.png,a",
        "pictures/../../outside.png,a",
        ",a",
        "pictures,a",
        "pictures/3.png,",
    ]
    source = listing(tmp_path, "list.csv", "\n".join(rows) + "\n")
    images = run_ingest(tmp_path, source, on_bad_image="quarantine")
    assert manifest(images)["source_path"].tolist() == ["pictures/2.png"]
    assert pd.read_parquet(images.quarantine)["reason"].tolist() == [
        "missing",
        "the path leaves the root",
        "the path leaves the root",
        "the path leaves the root",
        "no path in the row",
        "cannot be read: Is a directory",
        "no label",
    ]


@pytest.mark.parametrize(
    ("table", "text", "columns", "message"),
    [
        (
            "l.csv",
            CSV,
            {"label_column": "label"},
            "Column label is not in l.csv, which has path, name",
        ),
        ("l.csv", CSV, {"label_column": "name", "split_column": "note"}, "Unknown splits.*: 1, 2"),
        ("l.csv", "path,label\na,b,c\n", {}, "l.csv cannot be read.*Expected 2 columns, got 3"),
        ("l.tsv", CSV, {}, "neither .csv nor .parquet"),
        ("l.csv", "path,label\n", {}, "no labels"),
    ],
)
def test_listing_mistakes_are_named(
    tmp_path: Path, table: str, text: str, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(LongtailError, match=message):
        run_ingest(tmp_path, listing(tmp_path, table, text, **columns), on_bad_image="quarantine")


def split_lists(tmp_path: Path, **texts: str) -> dict[str, Any]:
    source = listing(tmp_path, "unused.csv", "")
    for name, text in texts.items():
        (Path(source["root"]) / f"{name}.txt").write_text(text)
    lists = {name: f"{name}.txt" for name in texts if name != "classes"}
    return {"kind": "split_lists", "root": source["root"], "lists": lists}


def ingest_lists(tmp_path: Path, **texts: str) -> Images:
    source = split_lists(tmp_path, **texts)
    if "classes" in texts:
        source["classes_file"] = "classes.txt"
    return run_ingest(tmp_path, source)


def test_official_lists_give_splits_labels_and_names(tmp_path: Path) -> None:
    images = ingest_lists(
        tmp_path,
        test="pictures/3.png 1\n",
        train="pictures/one, two.png 1\npictures/2.png 0\n\n",
        classes="alley\nbeach house\n",
    )
    table = manifest(images)
    assert table["source_split"].tolist() == ["train", "train", "test"]
    assert table["label"].tolist() == [1, 0, 1]
    assert table["class_name"].tolist() == ["beach house", "alley", "beach house"]
    assert stored_bytes(images) == [png(1), png(2), png(3)]


def test_a_line_without_a_label_is_named(tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"train.txt, line 2: `pictures/2.png` is not"):
        ingest_lists(tmp_path, train="pictures/3.png 0\npictures/2.png\n")


def test_columns_that_nobody_asked_for_may_hold_anything(tmp_path: Path) -> None:
    """Arrow guesses the type of a column from the first megabyte."""
    many = "".join(f"pictures/2.png,x,{'1' * 1000}\n" for _ in range(2000))
    text = f"path,label,note\n{many}pictures/3.png,y,see the email\n"
    table = manifest(run_ingest(tmp_path, listing(tmp_path, "list.csv", text)))
    assert table["class_name"].value_counts().to_dict() == {"x": 2000, "y": 1}


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    source = listing(tmp_path, "list.csv", "path,label,label\npictures/2.png,x,y\n")
    with pytest.raises(LongtailError, match=r"list.csv has two columns label; rename one"):
        run_ingest(tmp_path, source)


def test_a_parquet_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    source = hugging_face(tmp_path)
    file = tmp_path / "in" / "train-0.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(LongtailError, match=r"train-0.parquet cannot be read: "):
        run_ingest(tmp_path, source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"fine": ["ant",', "classes.json is no JSON: "),
        ('{"fine": {"ant": 0, "bee": 1, "cat": 2}}', "label column -> list of class names"),
        ('{"fine": ["ant", "bee", "cat"], "coarse": 3}', "list of class names"),
    ],
)
def test_a_classes_file_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    source = hugging_face(tmp_path)
    (tmp_path / "in" / "classes.json").write_text(text)
    with pytest.raises(LongtailError, match=message):
        run_ingest(tmp_path, source)


def test_a_list_may_begin_with_the_mark_of_utf_8_and_must_be_utf_8(tmp_path: Path) -> None:
    text = "\ufeffpictures/2.png 0\npictures/3.png 1\n"
    table = manifest(ingest_lists(tmp_path, train=text))
    assert table["source_path"].tolist() == ["pictures/2.png", "pictures/3.png"]
    (tmp_path / "again").mkdir()
    source = split_lists(tmp_path / "again", train="")
    (Path(source["root"]) / "train.txt").write_bytes("é/0.png 0\n".encode("latin-1"))
    with pytest.raises(LongtailError, match=r"train.txt is not UTF-8: .*; save it as UTF-8"):
        run_ingest(tmp_path / "again", source)
