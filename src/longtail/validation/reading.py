"""Read the tables for the rules, and report what is missing or unreadable instead of failing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from longtail.artifacts import Images, Split
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.validation.tables import SPLITS


@dataclass(frozen=True)
class Contents:
    """The tables of the images and split artifacts as they are on disk."""

    manifest: pd.DataFrame
    splits: dict[str, pd.DataFrame]
    profile: dict[str, Any]


def class_names(source: Images) -> list[str]:
    """Return the class list; raises LongtailError if there is none."""
    if not source.classes.is_file():
        raise LongtailError(f"{source.classes} does not exist; run `longtail ingest` first")
    names: list[str] = read_json(source.classes)["classes"]
    return names


def found_schemas(source: Images, parts: Split) -> tuple[dict[str, pa.Schema | str], Any]:
    """Return each table's schema, or why it cannot be read, and the profile, null if missing."""
    paths = {"manifest": source.manifest} | {name: getattr(parts, name) for name in SPLITS}
    profile = read_json(parts.profile) if parts.profile.is_file() else None
    return {name: _schema(path) for name, path in paths.items()}, profile


def read_contents(source: Images, parts: Split) -> Contents:
    """Return everything but the pictures; the schemas must have been found right."""
    return Contents(
        manifest=pq.read_table(source.manifest).to_pandas(),
        splits={name: pq.read_table(getattr(parts, name)).to_pandas() for name in SPLITS},
        profile=read_json(parts.profile),
    )


def _schema(path: Path) -> pa.Schema | str:
    if not path.is_file():
        return "no such file"
    try:
        return pq.read_schema(path)
    except pa.ArrowInvalid:
        return "not Parquet"
