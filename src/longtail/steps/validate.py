"""Validate: judge images and split by every rule, write it all down, stop the flow on an error."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from longtail.artifacts import Images, Split, Validation
from longtail.config.split import ValidateConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, whole_directory, write_json
from longtail.io.shard_store import Shards, open_shards
from longtail.validation import reading, rules, statistics, tables
from longtail.validation.docs import INDEX, data_docs
from longtail.validation.expectations import Judgement, Outcome, judge
from longtail.validation.images import inspect_sample, sample_positions, typical_issues
from longtail.validation.rule import Level, Rule

logger = logging.getLogger(__name__)
_LEVELS: dict[str, Level] = {"stop": "error", "warn": "warning"}
_SHOWN = 3
Frames = dict[str, pd.DataFrame]


def validate(config: ValidateConfig, *, images: Path, split: Path, out: Path) -> None:
    """Write `out` as `artifacts.Validation`; broken rules of level warning are logged.

    The result and the Data Docs are there whatever the outcome, the seal only if no rule of level
    error is broken.

    Raises:
        LongtailError: a rule of level error is broken; the message has the offenders and the fix.
    """
    source, parts = Images(images), Split(split)
    names = reading.class_names(source)
    schema = tables.schema_table(*reading.found_schemas(source, parts))
    frames: Frames = {"schema": schema}
    numbers: dict[str, Any] = {}
    if schema["expected"].equals(schema["found"]):
        looked, numbers = _look(config, source, parts, names)
        frames |= looked
    judgement = judge(_rules(config, num_classes=len(names)), frames)
    _write(judgement, numbers, profile=parts.profile, out=out)
    _report(judgement, out)


def _rules(config: ValidateConfig, *, num_classes: int) -> list[Rule]:
    minima = {
        "train": config.min_train_per_class,
        "val": config.min_val_per_class,
        "test": config.min_test_per_class,
    }
    return [
        *rules.schema_rules(),
        *rules.storage_rules(),
        *rules.manifest_rules(num_classes=num_classes),
        *rules.split_rules(num_classes=num_classes),
        *rules.class_rules(minima),
        *rules.duplicate_rules(
            across=_LEVELS[config.on_cross_split_duplicates],
            conflicting=_LEVELS[config.on_conflicting_labels],
        ),
        *rules.near_duplicate_rules(distance=config.near_duplicate_distance),
        *rules.image_rules(),
    ]


def _look(
    config: ValidateConfig, source: Images, parts: Split, names: list[str]
) -> tuple[Frames, dict[str, Any]]:
    """Every table but the schema's, and the statistics."""
    contents = reading.read_contents(source, parts)
    manifest, shards = contents.manifest, open_shards(source)
    splits = tables.splits_table(contents.splits, manifest)
    classes = tables.classes_table(contents.profile, splits, classes=names)
    duplicates = tables.duplicates_table(manifest, splits)
    near = tables.near_duplicates_table(splits, distance=config.near_duplicate_distance)
    sample = _sample(splits, shards, size=config.image_checks, seed=config.seed)
    frames = {
        "provenance": tables.provenance_table(contents.profile, file_digest(source.manifest)),
        "shards": tables.shards_table(manifest, shards.rows),
        "manifest": tables.manifest_table(manifest, classes=names),
        "splits": splits,
        "classes": classes,
        "duplicates": duplicates,
        "near_duplicates": near,
        "sample": sample.assign(**dict.fromkeys(typical_issues(sample), False)),
    }
    numbers = {
        "groups": statistics.group_statistics(
            splits, manifest, classes, group_names=contents.profile["group_names"]
        ),
        "duplicates": statistics.duplicate_statistics(duplicates),
        "sample": statistics.sample_statistics(sample, seed=config.seed),
    }
    return frames, numbers


def _sample(splits: pd.DataFrame, shards: Shards, *, size: int, seed: int) -> pd.DataFrame:
    """The sampled rows of the splits, with what their pictures are like."""
    rows = splits.iloc[sample_positions(len(splits), size=size, seed=seed)].reset_index(drop=True)
    places = list(zip(rows["shard"].tolist(), rows["row"].tolist(), strict=True))
    seen = inspect_sample(lambda position: _encoded(shards, *places[position]), rows["id"].tolist())
    return pd.concat([rows, seen], axis=1)


def _encoded(shards: Shards, shard: int, row: int) -> bytes:
    """The bytes of one image, none if they are not there."""
    try:
        return shards.encoded([shard], [row])[0]
    except (OSError, pa.ArrowInvalid, KeyError, IndexError):
        return b""


def _write(judgement: Judgement, numbers: dict[str, Any], *, profile: Path, out: Path) -> None:
    with whole_directory(out) as partial:
        result = Validation(partial)
        entries = [asdict(outcome) for outcome in judgement.outcomes]
        write_json(result.result, {"rules": entries, "statistics": numbers})
        result.docs.mkdir()
        for name, page in data_docs(judgement, numbers).items():
            (result.docs / name).write_text(page, encoding="utf-8")
        if not _broken(judgement, "error"):
            write_json(result.seal, {"split": file_digest(profile)})


def _broken(judgement: Judgement, level: Level) -> list[Outcome]:
    return [o for o in judgement.outcomes if o.level == level and o.passed is False]


def _report(judgement: Judgement, out: Path) -> None:
    for outcome in _broken(judgement, "warning"):
        logger.warning("%s", _sentence(outcome))
    failed = _broken(judgement, "error")
    if failed:
        page = Validation(out).docs / INDEX
        lines = "".join(
            f"\n- {_sentence(outcome)}\n  To fix it: {outcome.fix}" for outcome in failed
        )
        raise LongtailError(f"validation failed, see {page}:{lines}")


def _sentence(outcome: Outcome) -> str:
    number = outcome.value or 0
    listed = "; ".join(outcome.offenders[:_SHOWN])
    more = f" and {number - _SHOWN} more" if number > _SHOWN else ""
    return f"{outcome.name} ({outcome.bound}): {number} broke it: {listed}{more}"
