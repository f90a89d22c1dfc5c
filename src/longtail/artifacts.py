"""What each artifact contains: the only place with file names and table schemas.

| artifact | written by | directory under `dvc repro` |
|---|---|---|
| `Images` | ingest | `data/images` |
| `Split` | split | `data/split` |
| `Validation` | validate | `reports/validation` |
| `Representation` | represent | `models/representation` |
| `Search` | search | `reports/search` (not part of the flow) |
| `Features` | embed | `data/features` |
| `Classifier` | classify | `models/classifier` |
| `TauNorm` | tau_norm | `models/tau_norm` |
| `Evaluation` | evaluate | `reports/evaluation` |
| `Champion` | champion | `data/champion` |
| `Gate` | gate | `reports/gate` |
| `Report` | report | `reports/report` |
| `Registration` | register | `reports/register` |
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

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

EXAMPLES_SCHEMA = pa.schema(
    [
        pa.field("shown_with", pa.int32(), nullable=False),  # label of the class it illustrates
        pa.field("kind", pa.string(), nullable=False),  # mistake, right or lookalike
        pa.field("index", pa.int64(), nullable=False),  # as in the manifest
        pa.field("label", pa.int32(), nullable=False),
        pa.field("prediction", pa.int32(), nullable=False),  # of the chosen variant
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),  # PNG or JPEG, at most 112 pixels a side
    ]
)

ANSWERS_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),  # below the directory or prefix
        pa.field("label", pa.int32()),
        pa.field("class_name", pa.string()),
        pa.field("probability", pa.float64()),
        pa.field("group", pa.string()),  # of the predicted class
        pa.field(
            "top_k",  # most probable first
            pa.list_(
                pa.struct(
                    {
                        "label": pa.int32(),
                        "class_name": pa.string(),
                        "probability": pa.float64(),
                    }
                )
            ),
        ),
        pa.field("error", pa.string()),  # why there is no answer; null if there is one
    ]
)
SUPER_ANSWERS_SCHEMA = pa.schema(
    [
        *ANSWERS_SCHEMA,
        pa.field("super_label", pa.int32()),
        pa.field("super_name", pa.string()),
        pa.field("super_probability", pa.float64()),
        pa.field("levels_agree", pa.bool_()),  # the class is one of the super-class
    ]
)


@dataclass(frozen=True)
class Images:
    """Original encoded bytes in Arrow IPC files, and one manifest row per image.

    After `publish`, the files lie in an object store, and `shards.json` says where: by shard
    `{address, sha256, bytes, rows, batches}`. `batches` are the first row of each record batch and
    the position in the file from which its images follow each other.
    """

    root: Path

    @property
    def manifest(self) -> Path:
        """Parquet of `MANIFEST_SCHEMA`, in source order."""
        return self.root / "manifest.parquet"

    @property
    def quarantine(self) -> Path:
        """Parquet of `QUARANTINE_SCHEMA`: every image kept out, with the reason; often empty."""
        return self.root / "quarantine.parquet"

    @property
    def classes(self) -> Path:
        """JSON: `classes` and `super_classes` (names), `super_of` (by label, or [])."""
        return self.root / "classes.json"

    @property
    def shards(self) -> Path:
        """Only in a published artifact, whose shards are not in the directory."""
        return self.root / "shards.json"

    def shard(self, number: int) -> Path:
        """Arrow IPC file of `SHARD_SCHEMA`."""
        return self.root / f"shard-{number:05d}.arrow"


@dataclass(frozen=True)
class Split:
    """Three tables of `SPLIT_SCHEMA` (ids and rows, never pixels) and the profile.

    `profile.json`: `law`, `imbalance_factor` (largest over smallest training count that is not 0),
    `seed`, `manifest` (SHA-256 of the manifest), `val_source` and `test_source` (a sentence each),
    `group_names` (from most to least images), `duplicates` (`groups` of equal images, those with
    `conflicting_labels`, `dropped`: index of the images kept out because a copy is in another
    split, `left_across_splits`: ids), `requested` (the parameters), and `classes`: a list by label
    of `{name, super_label, planned, train, val, test, group}`, `planned` being the law's count.
    """

    root: Path

    @property
    def train(self) -> Path:
        return self.root / "train.parquet"

    @property
    def val(self) -> Path:
        return self.root / "val.parquet"

    @property
    def test(self) -> Path:
        return self.root / "test.parquet"

    @property
    def profile(self) -> Path:
        return self.root / "profile.json"


@dataclass(frozen=True)
class Validation:
    """Every rule with its outcome, the Data Docs, and a small seal that lets the flow go on."""

    root: Path

    @property
    def result(self) -> Path:
        """JSON: `rules` and `statistics` (groups, duplicates, sample; empty after a wrong schema).

        A rule is `{name, table, level, passed, value, bound, offenders, fix}`: `value` counts the
        offenders, `offenders` describes the first 20; `passed` and `value` are null if not judged.
        """
        return self.root / "validation.json"

    @property
    def seal(self) -> Path:
        """JSON: `split` (digest of the profile that passed); written only if no rule failed."""
        return self.root / "passed.json"

    @property
    def docs(self) -> Path:
        return self.root / "docs"


@dataclass(frozen=True)
class Representation:
    """Stage 1. `representation.json` describes the model and the data it was trained on.

    `backbone`, `feature_dim`, `image_size`, `mean`, `std`, `head_kind` (linear or cosine),
    `head_scale`, `classes`, `super_classes` (names, or []), `super_of` (by label, or []),
    `class_counts`, `groups` (by label), `group_names`, `loss`, `sampler`, `best_epoch`,
    `epochs`, `val` (metrics of the best epoch), `parameters`, `multiply_adds`, `split` (digest of
    the profile). `history.json` is a list of
    `{epoch, learning_rate, frozen_groups, train_loss, train_accuracy, val_loss, val_accuracy,
    val_balanced_accuracy}`.
    """

    root: Path

    @property
    def backbone(self) -> Path:
        return self.root / "backbone.safetensors"

    @property
    def head(self) -> Path:
        """Tensors of the head `stage1`, and of `super` if super-classes were learnt too.

        See `longtail.heads.save_heads`.
        """
        return self.root / "head.safetensors"

    @property
    def description(self) -> Path:
        return self.root / "representation.json"

    @property
    def history(self) -> Path:
        return self.root / "history.json"


@dataclass(frozen=True)
class Search:
    """`search.json`: `weight_decay`, its `score`, `tau`, `score_with_tau`, `select_by`, `trials`.

    A trial is `{number, weight_decay, state (COMPLETE, PRUNED, FAIL), score, by_epoch, error}`;
    `tau_trials` is a list of the same with `tau`, empty for a head that is not linear.
    """

    root: Path

    @property
    def result(self) -> Path:
        return self.root / "search.json"

    @property
    def scores_plot(self) -> Path:
        return self.root / "scores.png"

    @property
    def learning_plot(self) -> Path:
        return self.root / "learning.png"

    @property
    def tau_plot(self) -> Path:
        """Missing for a head that is not linear."""
        return self.root / "tau.png"


@dataclass(frozen=True)
class Features:
    """Features of the frozen backbone as NumPy files, so that they can be written as a stream.

    `features.json`: `test_time_flip`, which whoever uses the heads must do likewise.
    """

    root: Path

    @property
    def description(self) -> Path:
        return self.root / "features.json"

    def features(self, split: str) -> Path:
        """float32 `[V, N, D]`; view 0 is the plain image."""
        return self.root / f"{split}_features.npy"

    def labels(self, split: str) -> Path:
        """int64 `[N]`."""
        return self.root / f"{split}_labels.npy"


@dataclass(frozen=True)
class Classifier:
    """The stage-2 head. `classifier.json`: `method`, `best_epoch`, `val`; `history.json`.

    After a sweep, `method` is the one that val chose, and `sweep` says of every method
    `{val_loss, val_accuracy, val_balanced_accuracy, tau?}` or `{not_applicable: reason}`.
    """

    root: Path

    @property
    def head(self) -> Path:
        """Tensors of one head named `stage2`."""
        return self.root / "head.safetensors"

    @property
    def sweep(self) -> Path:
        """Tensors of the heads of all methods by name; only after a sweep."""
        return self.root / "sweep.safetensors"

    @property
    def description(self) -> Path:
        return self.root / "classifier.json"

    @property
    def history(self) -> Path:
        return self.root / "history.json"


@dataclass(frozen=True)
class TauNorm:
    """All variants: `stage1`, `stage1_tau`, `stage2`, `stage2_tau`, and which one val chose.

    `tau_norm.json`: `chosen` (variant), `select_by`, `test_time_flip`, and `variants`: name ->
    `{tau, val_accuracy, val_balanced_accuracy, temperature?, threshold?}`, or
    `{not_applicable: reason}` for a head whose rows cannot be normalised. `curve.json`: list of
    `{head, tau, val_accuracy, val_balanced_accuracy}`.
    """

    root: Path

    @property
    def heads(self) -> Path:
        """Tensors of every applicable variant by name."""
        return self.root / "heads.safetensors"

    @property
    def choice(self) -> Path:
        return self.root / "tau_norm.json"

    @property
    def curve(self) -> Path:
        return self.root / "curve.json"


@dataclass(frozen=True)
class Evaluation:
    """The test split, opened once.

    `report.json`: `chosen`, `test` (digest, images), `classes` (by label: name, group, train,
    test), `group_names`, `confidence` (of the intervals), `calibration_bins`, `provenance`,
    `warnings`, `super_classes` (`{names, of, head, variants}` as in `longtail.hierarchy`,
    or null), and `variants`: name -> `{tau, groups: {all | group -> metrics}, per_class: [...],
    weight_norms}` where a metric is a number, an interval `[low, high]` or null; `weight_norms` are
    those of the head's rows by label, null where their length does not matter.
    `metrics.json` is its small flat form for `dvc metrics`: variant -> number by name.
    `predictions.parquet`: `index, id, label` and for each variant `<variant>_prediction` and
    `<variant>_confidence` and `<variant>_rank` (0-based rank of the label among the logits).
    `held.safetensors`: a few test images by which a registered model is checked: `pixels` (uint8
    `[n, S, S, 3]`), `index` (int64 `[n]`), and for each variant its logits (float32 `[n, C]`).
    """

    root: Path

    @property
    def report(self) -> Path:
        return self.root / "report.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.json"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions.parquet"

    @property
    def held(self) -> Path:
        return self.root / "held.safetensors"

    @property
    def examples(self) -> Path:
        """Parquet of `EXAMPLES_SCHEMA`: small pictures of the best and worst classes."""
        return self.root / "examples.parquet"

    @property
    def plots(self) -> Path:
        """The tables that `dvc plots` draws."""
        return self.root / "plots"


@dataclass(frozen=True)
class Champion:
    """What the registry holds now: an input from outside, so read by a step that always runs.

    `champion.json`: `{champion: null}` or `{champion: {name, version, digest, chosen}}`.
    `predictions.parquet` as in `Evaluation`, only if there is a champion.
    """

    root: Path

    @property
    def identity(self) -> Path:
        return self.root / "champion.json"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions.parquet"


@dataclass(frozen=True)
class Gate:
    """`verdict.json`: `outcome` (promote, hold, reject), `candidate`, `champion`, and `checks`.

    `confidence` is the level of the intervals. A check is `{name, passed (true, false or null),
    value, interval ([low, high]), bound, reason}`; all but name and reason may be null.
    """

    root: Path

    @property
    def verdict(self) -> Path:
        return self.root / "verdict.json"


@dataclass(frozen=True)
class Report:
    """What people read of a run: one page, a model card, and the pictures as files."""

    root: Path

    @property
    def page(self) -> Path:
        """Self-contained HTML: no network, no scripts."""
        return self.root / "index.html"

    @property
    def card(self) -> Path:
        """Markdown."""
        return self.root / "model_card.md"

    @property
    def plots(self) -> Path:
        """PNG pictures."""
        return self.root / "plots"


@dataclass(frozen=True)
class Registration:
    """`registration.json`: `name`, `version`, `aliases`, `run_id`, `outcome`."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "registration.json"
