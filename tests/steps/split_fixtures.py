"""Manifests without images, and a split of them read back."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from longtail.artifacts import MANIFEST_SCHEMA, Images, Split
from longtail.config.section import parse
from longtail.config.split import SplitConfig
from longtail.files import read_json, write_json
from longtail.steps.split import split


def write_images(
    root: Path,
    labels: Sequence[int],
    *,
    contents: Iterable[object] | None = None,
    source_splits: Sequence[str | None] | None = None,
    super_of: Sequence[int] = (),
) -> Path:
    """Write manifest and class list; rows of equal `contents` (default: all differ) are copies."""
    rows = len(labels)
    names = [f"class {label}" for label in range(max(labels) + 1)]
    ids = [hashlib.sha256(str(content).encode()).hexdigest() for content in contents or range(rows)]
    columns = {
        "index": range(rows),
        "id": ids,
        "shard": [row // 100 for row in range(rows)],
        "row": [row % 100 for row in range(rows)],
        "label": labels,
        "class_name": [names[label] for label in labels],
        "source_split": source_splits or [None] * rows,
    }
    for field in MANIFEST_SCHEMA:
        filler = None if field.nullable else "PNG" if field.type == pa.string() else 32
        columns.setdefault(field.name, [filler] * rows)
    root.mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=MANIFEST_SCHEMA), Images(root).manifest)
    classes = {"classes": names, "super_classes": [], "super_of": list(super_of)}
    write_json(Images(root).classes, classes)
    return root


class SplitResult:
    """The tables and the profile of one split."""

    def __init__(self, root: Path) -> None:
        result = Split(root)
        self.tables = {
            part: pq.read_table(getattr(result, part)) for part in ("train", "val", "test")
        }
        self.profile = read_json(result.profile)

    def indexes(self, part: str) -> list[int]:
        return self.tables[part]["index"].to_pylist()

    def ids(self, part: str) -> set[str]:
        return set(self.tables[part]["id"].to_pylist())

    def counts(self, part: str) -> list[int]:
        return [entry[part] for entry in self.profile["classes"]]

    def totals(self) -> dict[str, int]:
        return {part: len(table) for part, table in self.tables.items()}


def run_split(images: Path, out: Path, **values: object) -> SplitResult:
    """Split with the parameters as `params.yaml` would give them."""
    split(parse(SplitConfig, values, where="split"), images=images, out=out)
    return SplitResult(out)
