"""The tables that the rules look at, as pandas frames in which one bad row is one offender."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from longtail.artifacts import MANIFEST_SCHEMA, SPLIT_SCHEMA
from longtail.validation.near_duplicates import near_duplicates

SPLITS = ("train", "val", "test")
PROFILE_KEYS = ("manifest", "group_names", "classes")
CLASS_KEYS = ("name", "group", "planned", *SPLITS)


def schema_table(found: Mapping[str, pa.Schema | str], profile: Any) -> pd.DataFrame:
    """Return `file, field, expected, found`: one row per column and per key that must be there.

    Args:
        found: the schema of `manifest`, `train`, `val` and `test`, or why it cannot be read.
        profile: content of `profile.json`, whatever it is.
    """
    rows: list[tuple[str, str, str, str]] = []
    for name, schema in found.items():
        expected = MANIFEST_SCHEMA if name == "manifest" else SPLIT_SCHEMA
        file = f"{name}.parquet"
        if isinstance(schema, str):
            rows.append((file, "(all)", "readable Parquet", schema))
            continue
        extra = [field for field in schema.names if field not in expected.names]
        rows += [
            (file, field, _column(expected, field), _column(schema, field))
            for field in [*expected.names, *extra]
        ]
    keys = set(profile) if isinstance(profile, dict) else set()
    rows += [("profile.json", key, "present", _presence(key in keys)) for key in PROFILE_KEYS]
    if "classes" in keys:
        rows += [
            ("profile.json", f"classes[].{key}", "present", _presence(everywhere))
            for key in CLASS_KEYS
            for everywhere in [all(key in entry for entry in profile["classes"])]
        ]
    return pd.DataFrame(rows, columns=["file", "field", "expected", "found"])


def provenance_table(profile: Mapping[str, Any], manifest_digest: str) -> pd.DataFrame:
    """Return `file, profile_says, found`: digest of the manifest that was split and of this."""
    row = ("manifest.parquet", str(profile["manifest"]), manifest_digest)
    return pd.DataFrame([row], columns=["file", "profile_says", "found"])


def shards_table(manifest: pd.DataFrame, rows: Callable[[int], str]) -> pd.DataFrame:
    """Return `shard, expected, found`: the rows that the manifest names and those there are.

    Args:
        manifest: one row per image.
        rows: gives a shard's number of rows as text, or why it cannot be read; called from several
            threads.
    """
    expected = (manifest.groupby("shard")["row"].max() + 1).astype(str)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(rows, expected.index.tolist()))
    return pd.DataFrame({"shard": expected.index, "expected": expected.array, "found": found})


def manifest_table(manifest: pd.DataFrame, *, classes: list[str]) -> pd.DataFrame:
    """Return the manifest with `listed_name`: what `classes.json` calls each row's label."""
    return manifest.assign(listed_name=_names(manifest["label"], classes))


def splits_table(tables: Mapping[str, pd.DataFrame], manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all splits, in the order of `SPLITS`, with what is wrong about them.

    `split`; `class_name`, `source_path` and `phash` from the manifest; `difference`: "none", or
    the first column that is not as in the manifest ("index" if it is not there at all); `also_in`:
    the split of an earlier row with the same index, or "none".
    """
    rows = pd.concat(
        [tables[name].assign(split=name) for name in SPLITS], ignore_index=True
    ).astype({"split": str})
    known = manifest.drop_duplicates("index").set_index("index").reindex(rows["index"])
    known = known.reset_index(drop=True)
    wrong = {"index": known["id"].isna()}
    wrong |= {name: rows[name] != known[name] for name in ("id", "shard", "row", "label")}
    difference = np.select(list(wrong.values()), list(wrong), default="none")
    earlier = rows.groupby("index")["split"].transform("first")
    also_in = earlier.where(rows["index"].duplicated(), "none")
    described = known[["class_name", "source_path", "phash"]].fillna("")
    return rows.assign(difference=difference, also_in=also_in, **described)


def classes_table(
    profile: Mapping[str, Any], splits: pd.DataFrame, *, classes: list[str]
) -> pd.DataFrame:
    """Return one row per label: `name` and counted images, beside what the profile says of them."""
    entries = pd.DataFrame(profile["classes"], columns=list(CLASS_KEYS))
    size = max(len(classes), len(entries))
    entries = entries.reindex(range(size))
    table = pd.DataFrame(
        {
            "label": range(size),
            "name": pd.Series(classes, dtype=str).reindex(range(size), fill_value=""),
            "profile_name": entries["name"].fillna("").astype(str),
            "group": entries["group"].fillna("").astype(str),
            "planned": entries["planned"].fillna(-1).astype(int),
        }
    )
    for name in SPLITS:
        labels = splits.loc[splits["split"] == name, "label"]
        table[name] = labels.value_counts().reindex(range(size), fill_value=0).to_numpy()
    table["counts"] = _together(table)
    table["profile_counts"] = _together(entries[list(SPLITS)].fillna(-1).astype(int))
    return table


def duplicates_table(manifest: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image that is there more than once, in the manifest or across splits.

    `id`; `copies` in the manifest, with their `indices`; `labels` (number) and `classes` (names);
    `splits` (number) and `in_splits`; `source_splits`: number of splits of the source it is in.
    """
    repeated = manifest.loc[manifest["id"].duplicated(keep=False), "id"]
    placed = splits[["id", "split"]].drop_duplicates()
    crossing = placed.loc[placed["id"].duplicated(keep=False), "id"]
    ids = pd.Index(pd.concat([repeated, crossing]).unique(), name="id")
    rows = manifest[manifest["id"].isin(ids)]
    placed = placed[placed["id"].isin(ids)]
    groups = rows.groupby("id")
    columns = {
        "copies": groups.size(),
        "indices": _joined(rows.assign(index=rows["index"].astype(str)), "index"),
        "labels": groups["label"].nunique(),
        "classes": _joined(rows, "class_name"),
        "splits": placed.groupby("id").size(),
        "in_splits": _joined(placed, "split"),
        "source_splits": groups["source_split"].nunique(),
    }
    numbers = ["copies", "labels", "splits", "source_splits"]
    table = pd.DataFrame(columns, index=ids)
    table[numbers] = table[numbers].fillna(0).astype(int)
    return table.fillna("").reset_index()


def near_duplicates_table(splits: pd.DataFrame, *, distance: int) -> pd.DataFrame:
    """Return one row per pair of similar hashes across splits, see `near_duplicates`."""
    rows = splits[splits["phash"] != ""]
    links = near_duplicates(
        np.array([int(text, 16) for text in rows["phash"]], dtype=np.uint64),
        pd.factorize(rows["id"])[0],
        np.asarray(pd.Categorical(rows["split"], categories=SPLITS).codes, dtype=np.uint8),
        distance=distance,
    )
    shown = rows[["index", "split", "class_name"]]
    first = shown.iloc[links.first].reset_index(drop=True)
    second = shown.iloc[links.second].reset_index(drop=True).add_prefix("near_")
    return pd.concat([first, second], axis=1).assign(distance=links.distance.astype(int))


def _column(schema: pa.Schema, name: str) -> str:
    if name not in schema.names:
        return "no such column"
    field = schema.field(name)
    return f"{field.type}{'' if field.nullable else ' not null'}"


def _presence(there: bool) -> str:
    return "present" if there else "absent"


def _names(labels: "pd.Series[int]", classes: list[str]) -> "pd.Series[str]":
    return labels.map(dict(enumerate(classes))).fillna("").astype(str)


def _together(table: pd.DataFrame) -> "pd.Series[str]":
    return (
        table["train"].astype(str)
        + " / "
        + table["val"].astype(str)
        + " / "
        + table["test"].astype(str)
    )


def _joined(rows: pd.DataFrame, column: str) -> "pd.Series[str]":
    """Distinct values of `column` by id, in order of appearance."""
    return rows.drop_duplicates(["id", column]).groupby("id")[column].agg(", ".join)
