"""Open the test split once and report every variant side by side."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from longtail.artifacts import (
    EXAMPLES_SCHEMA,
    Classifier,
    Evaluation,
    Images,
    Representation,
    TauNorm,
)
from longtail.config.promotion import EvaluateConfig
from longtail.data import ImageStore
from longtail.errors import LongtailError
from longtail.extraction import FeatureExtractor
from longtail.files import file_digest, read_json, whole_directory, write_json
from longtail.heads import Head
from longtail.hierarchy import level_metrics, super_metrics
from longtail.io.head_files import load_heads
from longtail.metrics import Outcome, join_outcomes, outcome_of
from longtail.progress import progress
from longtail.report.content import build_report, flat_metrics
from longtail.report.examples import choose_examples, thumbnail
from longtail.report.ranking import extremes
from longtail.report.series import class_rows, confusion_rows, tau_rows
from longtail.report.table import TITLES

HELD = 32  # images by which a registered model is checked


@dataclass(frozen=True)
class _Model:
    """The backbone with everything that reads its features."""

    extractor: FeatureExtractor
    heads: dict[str, Head]  # by variant
    above: Head | None  # of the super-classes


def evaluate(
    config: EvaluateConfig,
    *,
    images: Path,
    test: Path,
    profile: Path,
    representation: Path,
    classifier: Path,
    tau_norm: Path,
    out: Path,
) -> None:
    """Measure all variants on `test` and write `Evaluation`.

    Raises:
        LongtailError: the model was trained on another split than `profile` describes, `test` is
            not of that split, or logits are not finite.
    """
    stage1, post_hoc = Representation(representation), TauNorm(tau_norm)
    choice = read_json(post_hoc.choice)
    model = _load(stage1, post_hoc, test_time_flip=choice["test_time_flip"])
    _check_split(model.extractor.description, representation, profile)
    split = read_json(profile)
    store = ImageStore(Images(images), test, size=model.extractor.description["image_size"])
    _check_test(store, split, test)
    outcomes, super_predictions = _measure(store, model, batch_size=config.batch_size)
    report = build_report(
        outcomes,
        weight_norms=_weight_norms(model.heads),
        choice=choice,
        profile=split,
        test_digest=file_digest(test),
        provenance=_provenance(test, profile, representation, tau_norm),
        confidence=config.confidence,
        bins=config.calibration_bins,
    )
    report["super_classes"] = _levels(model.extractor.description, outcomes, super_predictions)
    chosen = outcomes[report["chosen"]]
    held = _held(store, model)
    examples = _examples(store, test, chosen, report, limit=config.examples)
    with whole_directory(out) as directory:
        artifact = Evaluation(directory)
        _write(artifact, report, _predictions(test, outcomes), examples, held)
        _write_plots(
            artifact.plots,
            report,
            chosen,
            stage1=stage1,
            stage2=Classifier(classifier),
            tau_norm=post_hoc,
        )


def _load(stage1: Representation, post_hoc: TauNorm, *, test_time_flip: bool) -> _Model:
    extractor = FeatureExtractor(stage1, test_time_flip=test_time_flip)
    above = load_heads(stage1.head).get("super") if extractor.description["super_of"] else None
    return _Model(extractor, load_heads(post_hoc.heads), above)


def _check_split(description: dict[str, Any], representation: Path, profile: Path) -> None:
    if description["split"] != file_digest(profile):
        raise LongtailError(
            f"{representation} was trained on another split than {profile}, so its training images "
            "may be in this test; run represent again"
        )


def _check_test(store: ImageStore, split: Any, test: Path) -> None:
    expected = [entry["test"] for entry in split["classes"]]
    found = np.bincount(store.labels, minlength=len(expected)).tolist()
    if found != expected:
        raise LongtailError(
            f"{test} has {len(store)} images, the profile of its split {sum(expected)}, or other "
            "classes; give test.parquet and profile.json of one split"
        )
    if not len(store):
        raise LongtailError(f"{test} has no images; change split.test so that it gets some")


def _measure(
    store: ImageStore, model: _Model, *, batch_size: int
) -> tuple[dict[str, Outcome], NDArray[Any] | None]:
    """One pass over the images; of the logits only what the metrics need is kept.

    The predictions `[N]` of the super-classes come second, if there are any.
    """
    parts: dict[str, list[Outcome]] = {name: [] for name in model.heads}
    super_parts: list[Tensor] = []
    labels = torch.split(store.labels, batch_size)
    with progress(total=len(store), what="evaluate") as bar, torch.inference_mode():
        for pixels, own in zip(store.batches(batch_size), labels, strict=True):
            features = model.extractor(pixels)  # [n, D]
            for name, head in model.heads.items():
                parts[name].append(_outcome(name, head.logits(features), own))
            if model.above is not None:
                super_parts.append(model.above.logits(features).argmax(dim=1))
            bar.update(len(own))
    outcomes = {name: join_outcomes(batches) for name, batches in parts.items()}
    return outcomes, torch.cat(super_parts).numpy() if super_parts else None


def _held(store: ImageStore, model: _Model) -> dict[str, Tensor]:
    """Images spread evenly over the test table, and what every variant says of them."""
    index = torch.linspace(0, len(store) - 1, min(HELD, len(store))).long()
    pixels = store.decode(index)
    with torch.inference_mode():
        features = model.extractor(pixels)  # [n, D]
        logits = {name: head.logits(features).contiguous() for name, head in model.heads.items()}
    return {"pixels": pixels, "index": index, **logits}


def _levels(
    description: dict[str, Any],
    outcomes: dict[str, Outcome],
    super_predictions: NDArray[Any] | None,
) -> dict[str, Any] | None:
    """Metrics by super-class, of every variant and of the head that was trained for them."""
    if not description["super_of"]:
        return None
    super_of = np.array(description["super_of"])
    labels = next(iter(outcomes.values())).labels
    own = super_predictions
    return {
        "names": description["super_classes"],
        "of": description["super_of"],
        "head": None if own is None else super_metrics(own, super_of[labels]),
        "variants": {
            name: level_metrics(
                outcome.predictions, labels, super_of=super_of, super_predictions=own
            )
            for name, outcome in outcomes.items()
        },
    }


def _outcome(name: str, logits: Tensor, labels: Tensor) -> Outcome:
    try:
        return outcome_of(logits.numpy(), labels.numpy())
    except ValueError as error:
        raise LongtailError(
            f"variant {name} on the test images: {error}; its training diverged, so lower the "
            "learning rate of that stage"
        ) from None


def _weight_norms(heads: dict[str, Head]) -> dict[str, list[float]]:
    """Norms of the rows of the linear heads; cosine and class-mean heads ignore theirs."""
    return {
        name: heads[name].weight.norm(dim=1).double().tolist()
        for name in TITLES
        if name in heads and heads[name].kind == "linear"
    }


def _provenance(test: Path, profile: Path, representation: Path, tau_norm: Path) -> dict[str, str]:
    return {
        "test split": file_digest(test),
        "split profile": file_digest(profile),
        "backbone": file_digest(Representation(representation).backbone),
        "heads": file_digest(TauNorm(tau_norm).heads),
    }


def _predictions(test: Path, outcomes: dict[str, Outcome]) -> pa.Table:
    table = pq.read_table(test, columns=["index", "id", "label"])
    for name, outcome in outcomes.items():
        columns = {
            "prediction": pa.array(outcome.predictions, pa.int32()),
            "confidence": pa.array(outcome.confidences.astype(np.float32)),
            "rank": pa.array(outcome.ranks, pa.int32()),
        }
        for column, values in columns.items():
            table = table.append_column(f"{name}_{column}", values)
    return table


def _examples(
    store: ImageStore, test: Path, outcome: Outcome, report: dict[str, Any], *, limit: int
) -> pa.Table:
    """Small pictures, as the model sees them, of the classes at both ends."""
    worst, best = extremes(report)
    chosen = choose_examples(
        outcome, worst=worst, best=best, num_classes=len(report["classes"]), limit=limit
    )
    at = np.array([example.position for example in chosen], dtype=np.int64)
    pixels: Iterable[NDArray[np.uint8]] = (
        store.decode(torch.from_numpy(at)).numpy() if len(at) else ()
    )
    columns = {
        "shown_with": [example.shown_with for example in chosen],
        "kind": [example.kind for example in chosen],
        "index": pq.read_table(test, columns=["index"])["index"].take(at).combine_chunks(),
        "label": outcome.labels[at],
        "prediction": outcome.predictions[at],
        "confidence": outcome.confidences[at].astype(np.float32),
        "image": [thumbnail(image) for image in pixels],
    }
    return pa.table(columns).cast(EXAMPLES_SCHEMA)


def _write(
    artifact: Evaluation,
    report: dict[str, Any],
    predictions: pa.Table,
    examples: pa.Table,
    held: dict[str, Tensor],
) -> None:
    write_json(artifact.report, report)
    write_json(artifact.metrics, flat_metrics(report))
    pq.write_table(predictions, artifact.predictions)
    pq.write_table(examples, artifact.examples)
    save_file(held, artifact.held)


def _write_plots(
    plots: Path,
    report: dict[str, Any],
    outcome: Outcome,
    *,
    stage1: Representation,
    stage2: Classifier,
    tau_norm: TauNorm,
) -> None:
    """Write the tables for `dvc plots`."""
    plots.mkdir()
    metric = f"val_{read_json(tau_norm.choice)['select_by']}"
    write_json(plots / "training_stage1.json", read_json(stage1.history))
    write_json(plots / "training_stage2.json", read_json(stage2.history))
    write_json(plots / "tau_curve.json", tau_rows(read_json(tau_norm.curve), metric=metric))
    write_json(plots / "accuracy_by_count.json", class_rows(report))
    with (plots / "confusion.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["actual", "predicted"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(confusion_rows(outcome, report["classes"]))
