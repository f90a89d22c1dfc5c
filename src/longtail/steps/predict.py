"""predict: score all images of a directory or bucket with a registered model."""

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from longtail.artifacts import ANSWERS_SCHEMA, SUPER_ANSWERS_SCHEMA
from longtail.config.ingest import S3Config
from longtail.errors import LongtailError
from longtail.files import whole_file
from longtail.io.prior_file import read_prior, write_prior
from longtail.io.pyfunc import load
from longtail.io.storage import open_storage
from longtail.predictor import Predictor
from longtail.prior_shift import Floats, estimate_prior
from longtail.serving import assumed_prior
from longtail.sources.collection import Storage
from longtail.steps.scoring import Batch, scored

log = logging.getLogger(__name__)

FEW_IMAGES = 10  # a class; with fewer on average an estimated prior is mostly noise


@dataclass(frozen=True)
class Summary:
    """How many images were scored; `groups`: predictions by group of the class."""

    images: int
    failed: int
    groups: dict[str, int]
    prior: dict[str, float] | None


def predict(
    model: Path,
    *,
    images: str,
    out: Path,
    s3: S3Config,
    batch_size: int,
    top_k: int,
    prior: Path | None = None,
    estimate: bool = False,
    trained_balanced: bool | None = None,
) -> Summary:
    """Write a Parquet file with one row per image, `ANSWERS_SCHEMA`, in order of the paths.

    A file that is no image has only a reason, in the column `error`. Memory does not grow with
    the number of images, but with `estimate` by 12 bytes for each image and class. What was fetched
    from a bucket stays beside `out` until all is done.

    Args:
        model: directory of a registered model.
        images: a local directory or `s3://bucket/prefix`; every file below it is taken.
        prior: class distribution to predict for, see `io.prior_file`.
        estimate: estimate that distribution from the images, and write it beside `out`.
        trained_balanced: say that the model was trained as if all classes were equally frequent,
            or as they were; default: what it says of itself.

    Raises:
        LongtailError: there are no images, they cannot be reached, or the prior does not fit.
    """
    predictor = _predictor(model, trained_balanced)
    target = _given_prior(predictor, prior, estimate=estimate)
    cache = out.with_name(f".{out.name}.download")
    storage = _open(images, s3=s3, cache=cache)
    paths = [entry.path for entry in storage.entries() if not entry.path.endswith("/")]
    if not paths:
        raise LongtailError(f"{images} holds no files; give the directory of the images")
    batches: Iterable[Batch] = scored(predictor, storage, paths, batch_size=batch_size)
    if estimate:
        batches = list(batches)
        target = _estimated_prior(predictor, batches)
    failed, groups = _write(out, predictor, batches, target=target, top_k=top_k)
    shutil.rmtree(cache, ignore_errors=True)
    classes = predictor.facts.classes
    if estimate and target is not None:
        write_prior(out.with_suffix(".prior.json"), target.tolist(), classes=classes)
    shares = None if target is None else dict(zip(classes, target.tolist(), strict=True))
    return Summary(len(paths), failed, dict(groups), shares)


def _predictor(model: Path, trained_balanced: bool | None) -> Predictor:
    predictor = load(model)
    if trained_balanced is None:
        return predictor
    counts = predictor.facts.class_counts
    return predictor.assuming(assumed_prior(counts, balanced=trained_balanced))


def _given_prior(predictor: Predictor, prior: Path | None, *, estimate: bool) -> Floats | None:
    if prior is not None and estimate:
        raise LongtailError("a prior is either given or estimated; leave one of the two out")
    try:
        if estimate:
            predictor.require_prior()
        if prior is None:
            return None
        return predictor.target(read_prior(prior, classes=predictor.facts.classes))
    except ValueError as error:
        raise LongtailError(f"{prior or 'the prior cannot be estimated'}: {error}") from None


def _open(images: str, *, s3: S3Config, cache: Path) -> Storage:
    if "://" not in images and not Path(images).is_dir():
        raise LongtailError(f"{images} is no directory; give one with images, or s3://bucket/...")
    return open_storage(images, s3=s3, cache=cache)


def _estimated_prior(predictor: Predictor, batches: list[Batch]) -> Floats:
    scores = [batch.scores.classes for batch in batches if batch.scores is not None]
    if not scores:
        raise LongtailError("no image could be read, so there is nothing to estimate a prior from")
    log_probabilities = np.concatenate(scores)
    trained = np.array(predictor.facts.prior)
    _warn_of_estimates(*log_probabilities.shape, trained=trained)
    found = estimate_prior(log_probabilities, trained=trained)
    if not found.converged:
        log.warning("the estimate still moved after %d iterations", found.iterations)
    return found.prior


def _warn_of_estimates(images: int, classes: int, *, trained: Floats) -> None:
    if images < FEW_IMAGES * classes:
        log.warning(
            "%d images of %d classes: the estimated shares of rare classes are mostly noise",
            images,
            classes,
        )
    if len(set(trained[trained > 0])) == 1:
        log.warning(
            "the model was balanced, so its probabilities are for equal shares in rough terms only "
            "and estimates can be far off (docs/serving.md); give shares that you know with --prior"
        )


def _write(
    out: Path,
    predictor: Predictor,
    batches: Iterable[Batch],
    *,
    target: Floats | None,
    top_k: int,
) -> tuple[int, Counter[str]]:
    schema = SUPER_ANSWERS_SCHEMA if predictor.facts.super_of else ANSWERS_SCHEMA
    failed, groups = 0, Counter[str]()
    with (
        whole_file(out) as partial_file,
        pq.ParquetWriter(partial_file, schema, compression="zstd") as writer,
    ):
        for batch in batches:
            rows = _rows(predictor, batch, target=target, top_k=top_k)
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            failed += sum(row["error"] is not None for row in rows)
            groups.update(row["group"] for row in rows if row["error"] is None)
    return failed, groups


def _rows(
    predictor: Predictor, batch: Batch, *, target: Floats | None, top_k: int
) -> list[dict[str, Any]]:
    answers: Iterator[dict[str, Any]] = iter(())
    if batch.scores is not None:
        scores = batch.scores if target is None else predictor.shifted(batch.scores, target)
        answers = iter(predictor.answers(scores, top_k=top_k))
    return [
        {"path": path, **(next(answers) if reason is None else predictor.failure(reason))}
        for path, reason in zip(batch.paths, batch.reasons, strict=True)
    ]
