"""What the steps from the source to a checked split write."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from longtail.artifacts.artifact import Artifact, file

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),  # 0.. in source order
        pa.field("id", pa.string(), nullable=False),  # SHA-256 of the original bytes, hex
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),  # row within the shard
        pa.field("label", pa.int32(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("super_label", pa.int32()),
        pa.field("super_name", pa.string()),
        pa.field("width", pa.int32(), nullable=False),  # pixels, after EXIF rotation
        pa.field("height", pa.int32(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),  # Pillow's mode of the original
        pa.field("format", pa.string(), nullable=False),  # Pillow's name, e.g. PNG
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("phash", pa.string(), nullable=False),  # 64-bit perceptual hash, hex
        pa.field("source_path", pa.string(), nullable=False),
        pa.field("source_split", pa.string()),  # train, val, test or null
    ]
)
SHARD_SCHEMA = pa.schema([pa.field("bytes", pa.binary(), nullable=False)])
QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("source_path", pa.string(), nullable=False),
        pa.field("class_name", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
SPLIT_SCHEMA = pa.schema(
    [MANIFEST_SCHEMA.field(name) for name in ("index", "id", "shard", "row", "label")]
)


@dataclass(frozen=True)
class Images(Artifact):
    """Original encoded bytes in Arrow IPC files, and one manifest row per image.

    After `publish`, the files lie in an object store, and `shards.json` says where: by shard
    `{address, sha256, bytes, rows, batches}`. `batches` are the first row of each record batch and
    the position in the file from which its images follow each other.
    """

    manifest = file("manifest.parquet")  # `MANIFEST_SCHEMA`, in source order
    # `QUARANTINE_SCHEMA`: every image kept out, with the reason; often empty.
    quarantine = file("quarantine.parquet")
    # JSON: `classes` and `super_classes` (names), `super_of` (by label, or []).
    classes = file("classes.json")
    # Only in a published artifact, whose shards are not in the directory.
    shards = file("shards.json")

    def shard(self, number: int) -> Path:
        """Arrow IPC file of `SHARD_SCHEMA`."""
        return self.root / f"shard-{number:05d}.arrow"


@dataclass(frozen=True)
class Split(Artifact):
    """Three tables of `SPLIT_SCHEMA` (ids and rows, never pixels) and the profile.

    `profile.json`: `law`, `imbalance_factor` (largest over smallest training count that is not 0),
    `seed`, `manifest` (SHA-256 of the manifest), `val_source` and `test_source` (a sentence each),
    `group_names` (from most to least images), `duplicates` (`groups` of equal images, those with
    `conflicting_labels`, `dropped`: index of the images kept out because a copy is in another
    split, `left_across_splits`: ids), `requested` (the parameters), and `classes`: a list by label
    of `{name, super_label, planned, train, val, test, group}`, `planned` being the law's count.
    """

    train = file("train.parquet")
    val = file("val.parquet")
    test = file("test.parquet")
    profile = file("profile.json")


@dataclass(frozen=True)
class Validation(Artifact):
    """Every rule with its outcome, the Data Docs, and a small seal that lets the flow go on."""

    # JSON: `rules` and `statistics` (groups, duplicates, sample; empty after a wrong schema).
    # A rule is `{name, table, level, passed, value, bound, offenders, fix}`: `value` counts the
    # offenders, `offenders` describes the first 20; `passed` and `value` are null if not judged.
    result = file("validation.json")
    # JSON: `split` (digest of the profile that passed); written only if no rule failed.
    seal = file("passed.json")
    docs = file("docs")
