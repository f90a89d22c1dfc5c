"""Split: choose which images are for training, validation and test, and say how in a profile."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from longtail import profiles
from longtail.artifacts import SPLIT_SCHEMA, Images, Split
from longtail.config import SplitConfig
from longtail.duplicates import conflicting, id_words, same_image
from longtail.errors import LongtailError, first_few
from longtail.files import file_digest, read_json, whole_directory, write_json
from longtail.profiles import Counts
from longtail.splitting import (
    Allotment,
    Mask,
    Rows,
    cao_preference,
    hashed_preference,
    straddling,
)


@dataclass(frozen=True)
class _Pools:
    """Which rows each split may take: of the source's own splits, or of everything else."""

    test: Mask
    val: Mask
    rest: Mask
    train: Mask


@dataclass(frozen=True)
class _Drawn:
    train: Rows
    val: Rows
    test: Rows
    planned: Counts


def split(config: SplitConfig, *, images: Path, out: Path) -> None:
    """Write `out` as `artifacts.Split` from the manifest of `images`.

    Exact duplicates never stand on two sides, unless a published subset (selection `cao`, law
    `given`) and the source's own test or val split contain the same image: then they stay, and the
    profile lists them. Raises LongtailError if a class cannot supply what is asked for.
    """
    source = Images(images)
    table = _read_manifest(source.manifest)
    names = read_json(source.classes)["classes"]
    labels = table["label"].to_numpy()
    if len(labels) and int(labels.max()) >= len(names):
        raise LongtailError(f"{source.manifest}: label {labels.max()} but {len(names)} classes")
    pools = _pools(config, table["source_split"].combine_chunks())
    ids = table["id"].combine_chunks()
    copies = same_image(ids)
    allotment = Allotment(labels, copies, _preference(config, ids, labels, pools.rest), len(names))
    drawn = _draw(config, allotment, pools, names)
    counts = {
        part: np.bincount(labels[getattr(drawn, part)], minlength=len(names))
        for part in ("train", "val", "test")
    }
    group_names, groups = profiles.group_classes(
        counts["train"], scheme=config.groups.scheme, edges=config.groups.edges
    )
    left = straddling(copies, [drawn.train, drawn.val, drawn.test])
    first_row = np.unique(copies, return_index=True)[1]
    super_of = read_json(source.classes).get("super_of") or [None] * len(names)
    nonzero = counts["train"][counts["train"] > 0]
    profile = {
        "law": config.law,
        "imbalance_factor": float(nonzero.max() / nonzero.min()) if len(nonzero) else None,
        "seed": config.seed,
        "manifest": file_digest(source.manifest),
        "val_source": _val_sentence(config),
        "test_source": _test_sentence(config),
        "group_names": list(group_names),
        "duplicates": {
            "groups": int((np.bincount(copies) > 1).sum()),
            "conflicting_labels": conflicting(copies, labels),
            "dropped": np.flatnonzero(allotment.dropped).tolist(),
            "left_across_splits": [ids[int(first_row[group])].as_py() for group in left],
        },
        "requested": config.model_dump(mode="json"),
        "classes": [
            {
                "name": name,
                "super_label": super_of[label],
                "planned": int(drawn.planned[label]),
                "group": groups[label],
                **{part: int(of_part[label]) for part, of_part in counts.items()},
            }
            for label, name in enumerate(names)
        ],
    }
    with whole_directory(out) as partial:
        result = Split(partial)
        _write(table, drawn.train, result.train)
        _write(table, drawn.val, result.val)
        _write(table, drawn.test, result.test)
        write_json(result.profile, profile)


def _read_manifest(manifest: Path) -> pa.Table:
    if not manifest.is_file():
        raise LongtailError(f"{manifest} does not exist; run `longtail ingest` first")
    table = pq.read_table(manifest, columns=[*SPLIT_SCHEMA.names, "source_split"])
    if np.any(np.diff(table["index"].to_numpy()) <= 0):
        raise LongtailError(f"{manifest}: `index` must ascend; write it with `longtail ingest`")
    return table


def _pools(config: SplitConfig, source_split: pa.StringArray) -> _Pools:
    def from_source(name: str) -> Mask:
        return np.asarray(pc.equal(source_split, name).fill_null(False))

    nothing = np.zeros(len(source_split), dtype=np.bool_)
    test = from_source("test") if config.test.take_from == "source" else nothing
    val = from_source("val") if config.val.take_from == "source" else nothing
    rest = ~(test | val)
    train = from_source("train")
    return _Pools(test, val, rest, rest & train if config.law == "given" and train.any() else rest)


def _preference(config: SplitConfig, ids: pa.StringArray, labels: Any, rest: Mask) -> Any:
    hashed = hashed_preference(id_words(ids), seed=config.seed)
    if config.selection == "hashed":
        return hashed
    cao = cao_preference(labels, eligible=rest, seed=config.seed)
    return np.where(rest, cao.astype(np.uint64), hashed)


def _draw(config: SplitConfig, allotment: Allotment, pools: _Pools, names: list[str]) -> _Drawn:
    published = config.selection == "cao" or config.law == "given"
    totals = allotment.available(pools.train)
    test_pool = pools.test if config.test.take_from == "source" else pools.rest
    wanted = _test_counts(config, allotment.available(test_pool))
    _check_supply("test", wanted, allotment.available(test_pool), names)
    test = allotment.draw(wanted, among=test_pool, from_end=True)
    if not (published and config.test.take_from == "source"):
        allotment.drop_copies(test)
    seen = allotment.copies_of(test)
    val: Rows = np.zeros(0, dtype=np.int64)
    if config.val.take_from == "train":
        allowed = pools.train & ~seen
        wanted = _val_counts(config, totals, allotment.available(allowed))
        _check_supply("val", wanted, allotment.available(allowed), names)
        val = allotment.draw(wanted, among=allowed, from_end=True)
        allotment.drop_copies(val)
    elif config.val.take_from == "source":
        supply = allotment.available(pools.val)
        wanted = _val_counts(config, supply, supply)
        _check_supply("val", wanted, supply, names)
        val = allotment.draw(wanted, among=pools.val, from_end=True)
        if not published:
            allotment.drop_copies(val)
    planned = _train_counts(config, allotment.available(pools.train), names)
    _check_supply("train", planned, allotment.available(pools.train), names)
    train = allotment.draw(planned, among=pools.train)
    if config.val.take_from == "unused":
        allowed = pools.rest & ~seen & ~allotment.copies_of(train)
        supply = allotment.available(allowed)
        wanted = np.minimum(_val_counts(config, totals, supply), supply)
        val = allotment.draw(wanted, among=allowed, from_end=True)
    return _Drawn(train, val, test, planned)


def _law(config: SplitConfig, classes: int, n_max: int) -> Counts:
    assert config.law in ("exp", "step", "pareto")
    by_rank = profiles.law_counts(
        config.law,
        classes,
        n_max=n_max,
        imbalance_factor=config.imbalance_factor,
        pareto_alpha=config.pareto_alpha,
        lift_to_one=config.lift_to_one,
    )
    return by_rank[profiles.class_ranks(classes, seed=config.class_order_seed)]


def _train_counts(config: SplitConfig, available: Counts, names: list[str]) -> Counts:
    if config.law in ("natural", "given"):
        planned = available
    else:
        n_max = config.max_per_class or profiles.largest_supported(
            lambda n: _law(config, len(available), n), available
        )
        planned = _law(config, len(available), n_max)
    empty = [names[label] for label in np.flatnonzero(planned == 0)]
    if empty and config.law != "given":
        raise LongtailError(
            f"{len(empty)} classes would have 0 training images: {first_few(empty)}; raise "
            "split.max_per_class, lower split.imbalance_factor or set split.lift_to_one"
        )
    return planned


def _test_counts(config: SplitConfig, supply: Counts) -> Counts:
    test = config.test
    if test.distribution == "as_is":
        if test.share is None:
            return supply
        return profiles.stratified_counts(supply, share=test.share)
    if test.distribution == "balanced":
        return np.full_like(supply, test.per_class or supply.min())
    if test.per_class is None:
        raise LongtailError("split.test.per_class must be set")
    return _law(config, len(supply), test.per_class)


def _val_counts(config: SplitConfig, totals: Counts, available: Counts) -> Counts:
    if config.val.per_class is not None:
        return np.full_like(totals, config.val.per_class)
    if config.val.share is not None:
        wanted = profiles.stratified_counts(totals, share=config.val.share)
        return np.minimum(wanted, np.maximum(available - 1, 0))
    return available


def _check_supply(what: str, wanted: Counts, available: Counts, names: list[str]) -> None:
    short = np.flatnonzero(wanted > available)
    if len(short):
        offenders = [f"{names[c]} (wanted {wanted[c]}, available {available[c]})" for c in short]
        raise LongtailError(f"{what}: too few images of {first_few(offenders)}")


def _val_sentence(config: SplitConfig) -> str:
    return config.val.take_from


def _test_sentence(config: SplitConfig) -> str:
    return config.test.take_from


def _write(table: pa.Table, rows: Rows, path: Path) -> None:
    chosen = table.select(SPLIT_SCHEMA.names).take(pa.array(rows)).cast(SPLIT_SCHEMA)
    pq.write_table(
        chosen, path, version="2.6", compression="zstd", use_dictionary=["shard", "label"]
    )
