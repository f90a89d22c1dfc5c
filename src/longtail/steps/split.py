"""Split: choose which images are for training, validation and test, and say how in a profile."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from longtail import quotas
from longtail.artifacts import SPLIT_SCHEMA, Images, Split
from longtail.config.split import SplitConfig, TestConfig, ValConfig
from longtail.duplicates import duplicates_report, id_words, same_image
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json, whole_directory, write_json
from longtail.profiles import Counts, TailLaw, class_ranks, group_classes
from longtail.split_profile import class_list, imbalance_factor, test_source, val_source
from longtail.splitting import (
    Allotment,
    Mask,
    Rows,
    cao_preference,
    hashed_preference,
    straddling,
)


def split(config: SplitConfig, *, images: Path, out: Path) -> None:
    """Write `out` as `artifacts.Split` from the manifest and the class list of `images`.

    Exact duplicates never stand on two sides. The exception is a published training set (selection
    `cao` or law `given`) beside the source's own test or val split: nothing is taken out of either,
    and the profile lists the ids. Raises LongtailError if a class cannot give what is asked for.
    """
    source = Images(images)
    table = _read_manifest(source.manifest)
    classes = read_json(source.classes)
    names: list[str] = classes["classes"]
    labels = table["label"].to_numpy()
    if labels.min() < 0 or labels.max() >= len(names):
        raise LongtailError(
            f"{source.manifest}: labels {labels.min()}..{labels.max()} do not fit the "
            f"{len(names)} classes of {source.classes}; run `longtail ingest` again"
        )
    ids = table["id"].combine_chunks()
    copies = same_image(ids)
    pools = _pools(config, table["source_split"])
    preference = _preference(config, ids, labels, pools.rest, manifest=source.manifest)
    allotment = Allotment(labels, copies, preference, classes=len(names))
    drawn = _draw(config, allotment, pools, names)
    profile = {
        "manifest": file_digest(source.manifest),
        "duplicates": duplicates_report(
            ids,
            table["index"].to_numpy(),
            labels,
            copies,
            dropped=allotment.dropped,
            left=straddling(copies, [drawn.train, drawn.val, drawn.test]),
        ),
        **_profile(config, drawn, labels, names, classes["super_of"]),
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
    if len(table) == 0:
        raise LongtailError(
            f"{manifest} lists no images; give `longtail ingest` a source with some"
        )
    if np.any(np.diff(table["index"].to_numpy()) <= 0):
        raise LongtailError(f"{manifest}: `index` does not ascend; run `longtail ingest` again")
    return table


def _write(table: pa.Table, rows: Rows, path: Path) -> None:
    """Write `rows` so that the bytes depend on nothing but the rows and the pyarrow version."""
    chosen = table.select(SPLIT_SCHEMA.names).take(pa.array(rows)).cast(SPLIT_SCHEMA)
    pq.write_table(
        chosen,
        path,
        version="2.6",
        compression="zstd",
        use_dictionary=["shard", "label"],
        row_group_size=1 << 17,
    )


@dataclass(frozen=True)
class _Pools:
    """Rows by where they may go: the source's own splits, if asked for, and the rest."""

    test: Mask
    val: Mask
    rest: Mask
    train: Mask  # of the rest: the source's train split under law `given`, if there is one


@dataclass(frozen=True)
class _Drawn:
    train: Rows
    val: Rows
    test: Rows
    planned: Counts  # training images that the law asks for


def _pools(config: SplitConfig, source_split: pa.ChunkedArray) -> _Pools:
    def marked(name: str) -> Mask:
        return np.asarray(pc.equal(source_split, name).fill_null(False), dtype=np.bool_)

    def own(name: str) -> Mask:
        rows = marked(name)
        if not rows.any():
            raise LongtailError(
                f"split.{name}.take_from is `source`, but the source has no {name} split; "
                f"set it to {'pool' if name == 'test' else 'train or unused'}"
            )
        return rows

    nothing = np.zeros(len(source_split), dtype=np.bool_)
    test = own("test") if config.test.take_from == "source" else nothing
    val = own("val") if config.val.take_from == "source" else nothing
    rest = ~(test | val)
    train = rest & marked("train")
    return _Pools(test, val, rest, train if config.law == "given" and train.any() else rest)


def _preference(
    config: SplitConfig,
    ids: pa.StringArray,
    labels: NDArray[np.int32],
    rest: Mask,
    *,
    manifest: Path,
) -> NDArray[np.uint64]:
    try:
        hashed = hashed_preference(id_words(ids), seed=config.seed)
    except ValueError as error:
        raise LongtailError(f"{manifest}: {error}; run `longtail ingest` again") from None
    if config.selection == "hashed":
        return hashed
    place = cao_preference(labels, eligible=rest, seed=config.seed)
    return np.where(rest, place.astype(np.uint64), hashed)


def _draw(config: SplitConfig, allotment: Allotment, pools: _Pools, names: list[str]) -> _Drawn:
    """Draw test, then val, then train (`unused` val last); none sees copies of an earlier one.

    A published training set is drawn as if the source's own splits held no copies of it.
    """
    published = config.selection == "cao" or config.law == "given"
    totals = allotment.available(pools.train)
    law = _tail_law(config, len(names))
    test = _draw_test(config.test, allotment, pools, law, names)
    if not (published and config.test.take_from == "source"):
        allotment.drop_copies(test)
    val = np.zeros(0, dtype=np.int64)
    if config.val.take_from == "source":
        val = _draw_val(config.val, allotment, pools.val, allotment.available(pools.val), names)
    elif config.val.take_from == "train":
        among = pools.train & ~allotment.copies_of(test)
        val = _draw_val(config.val, allotment, among, totals, names)
    if not (published and config.val.take_from == "source"):
        allotment.drop_copies(val)
    supply = allotment.available(pools.train)
    planned = quotas.train_quota(supply, law=law, n_max=config.max_per_class, names=names)
    if config.law == "natural":
        fix = "split.val and split.test take them or copies of them: lower their share or per_class"
        quotas.check_none_empty(planned, names=names, fix=fix)
    train = allotment.draw(planned, among=pools.train)
    if config.val.take_from == "unused":
        among = pools.rest & ~allotment.copies_of(test) & ~allotment.copies_of(train)
        val = _draw_unused(config.val, allotment, among, totals)
    return _Drawn(train, val, test, planned)


def _tail_law(config: SplitConfig, classes: int) -> TailLaw | None:
    if config.law == "natural" or config.law == "given":
        return None
    return TailLaw(
        config.law,
        imbalance_factor=config.imbalance_factor,
        ranks=class_ranks(classes, seed=config.class_order_seed),
        pareto_alpha=config.pareto_alpha,
        lift_to_one=config.lift_to_one,
    )


def _draw_test(
    config: TestConfig, allotment: Allotment, pools: _Pools, law: TailLaw | None, names: list[str]
) -> Rows:
    held_out = config.take_from == "pool"
    among = pools.rest if held_out else pools.test
    supply = allotment.available(among)
    wanted = quotas.test_quota(
        supply,
        distribution=config.distribution,
        per_class=config.per_class,
        share=config.share,
        law=law,
    )
    if held_out and config.share is not None:
        wanted = np.minimum(wanted, _all_but_one(supply))
    fix = "lower split.test.per_class"
    quotas.check_supply(wanted, supply, names=names, what="test", fix=fix)
    return allotment.draw(wanted, among=among, from_end=True)


def _draw_val(
    config: ValConfig, allotment: Allotment, among: Mask, totals: Counts, names: list[str]
) -> Rows:
    supply = allotment.available(among)
    wanted = quotas.val_quota(totals, per_class=config.per_class, share=config.share)
    if config.take_from == "train" and config.share is not None:
        wanted = np.minimum(wanted, _all_but_one(supply))
    fix = "lower split.val.per_class"
    quotas.check_supply(wanted, supply, names=names, what="validation", fix=fix)
    return allotment.draw(wanted, among=among, from_end=True)


def _draw_unused(config: ValConfig, allotment: Allotment, among: Mask, totals: Counts) -> Rows:
    wanted = quotas.val_quota(totals, per_class=config.per_class, share=config.share)
    supply = allotment.available(among)
    rows = allotment.draw(np.minimum(wanted, supply), among=among, from_end=True)
    if len(rows) == 0:
        raise LongtailError(
            "split.val.take_from is `unused`, but the training set leaves no image over; "
            "set it to train, or lower split.max_per_class"
        )
    return rows


def _all_but_one(supply: Counts) -> Counts:
    return np.maximum(supply - 1, 0)


def _profile(
    config: SplitConfig,
    drawn: _Drawn,
    labels: NDArray[np.int32],
    names: list[str],
    super_of: list[int],
) -> dict[str, Any]:
    parts = {"train": drawn.train, "val": drawn.val, "test": drawn.test}
    counts = {part: np.bincount(labels[rows], minlength=len(names)) for part, rows in parts.items()}
    group_names, groups = group_classes(
        counts["train"], scheme=config.groups.scheme, edges=config.groups.edges
    )
    val, test = config.val, config.test
    return {
        "law": config.law,
        "imbalance_factor": imbalance_factor(counts["train"]),
        "seed": config.seed,
        "requested": config.model_dump(mode="json"),
        "val_source": val_source(val.take_from, per_class=val.per_class, share=val.share),
        "test_source": test_source(
            test.take_from, test.distribution, per_class=test.per_class, share=test.share
        ),
        "group_names": list(group_names),
        "classes": class_list(
            names, super_of=super_of, groups=groups, planned=drawn.planned, **counts
        ),
    }
