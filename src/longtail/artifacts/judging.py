"""What the steps from the test split to the registry write, and prediction."""

from dataclasses import dataclass

import pyarrow as pa

from longtail.artifacts.artifact import Artifact, file

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
class Evaluation(Artifact):
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

    report = file("report.json")
    metrics = file("metrics.json")
    predictions = file("predictions.parquet")
    held = file("held.safetensors")
    # `EXAMPLES_SCHEMA`: small pictures of the best and worst classes.
    examples = file("examples.parquet")
    plots = file("plots")  # the tables that `dvc plots` draws


@dataclass(frozen=True)
class Champion(Artifact):
    """What the registry holds now: an input from outside, so read by a step that always runs.

    `champion.json`: `{champion: null}` or `{champion: {name, version, digest, chosen}}`.
    `predictions.parquet` as in `Evaluation`, only if there is a champion.
    """

    identity = file("champion.json")
    predictions = file("predictions.parquet")


@dataclass(frozen=True)
class Gate(Artifact):
    """`verdict.json`: `outcome` (promote, hold, reject), `candidate`, `champion`, and `checks`.

    `confidence` is the level of the intervals. A check is `{name, passed (true, false or null),
    value, interval ([low, high]), bound, reason}`; all but name and reason may be null.
    """

    verdict = file("verdict.json")


@dataclass(frozen=True)
class Report(Artifact):
    """What people read of a run: one page, a model card, and the pictures as files."""

    page = file("index.html")  # self-contained: no network, no scripts
    card = file("model_card.md")
    plots = file("plots")  # PNG


@dataclass(frozen=True)
class Registration(Artifact):
    """`registration.json`: `name`, `version`, `aliases`, `run_id`, `outcome`."""

    record = file("registration.json")
