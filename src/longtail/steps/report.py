"""report: what people read of a run, once it is judged: one page, a model card, and pictures."""

from pathlib import Path
from typing import Any

import pandas as pd

from longtail.artifacts import (
    Champion,
    Classifier,
    Evaluation,
    Gate,
    Report,
    Representation,
    Split,
    TauNorm,
    Validation,
)
from longtail.config.promotion import ReportConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json, whole_directory
from longtail.gating.predictions import other_test_split
from longtail.io.prediction_file import read_predictions
from longtail.report.gallery import draw
from longtail.report.material import Material
from longtail.report.page import render_card, render_page
from longtail.report.published import published_rows
from longtail.report.style import png
from longtail.report.versus import Versus, versus

STEPS = (
    "fingerprint",
    "ingest",
    "split",
    "validate",
    "represent",
    "embed",
    "classify",
    "tau_norm",
    "evaluate",
    "champion",
    "gate",
)


def report(
    config: ReportConfig,
    *,
    evaluation: Path,
    champion: Path,
    gate: Path,
    validation: Path,
    split: Path,
    representation: Path,
    classifier: Path,
    tau_norm: Path,
    provenance: Path,
    costs: Path,
    out: Path,
) -> None:
    """Write `Report`: the page and the model card, from the same values, and the pictures as PNG.

    Args:
        provenance: JSON of `git_commit`, `git_dirty`, `split_md5` (each may be null) and `params`.
        costs: directory of the cost records, one JSON a step; steps without one are left out.

    Raises:
        LongtailError: the verdict is on other predictions, or a published number is unknown.
    """
    measured = Evaluation(evaluation)
    verdict = _verdict(Gate(gate), measured)
    stage1, stage2 = Representation(representation), Classifier(classifier)
    tau = TauNorm(tau_norm)
    material = Material(
        report=read_json(measured.report),
        predictions=pd.read_parquet(measured.predictions),
        examples=pd.read_parquet(measured.examples),
        verdict=verdict,
        validation=read_json(Validation(validation).result),
        profile=read_json(Split(split).profile),
        representation=read_json(stage1.description),
        stage1_history=read_json(stage1.history),
        classifier=read_json(stage2.description),
        stage2_history=read_json(stage2.history),
        choice=read_json(tau.choice),
        curve=read_json(tau.curve),
        provenance=read_json(provenance),
        costs=_costs(costs),
        published=published_rows(config.published),
        words=config.model_dump(),
    )
    _write(material, _against(material, measured, Champion(champion)), out)


def _verdict(gate: Gate, measured: Evaluation) -> Any:
    verdict = read_json(gate.verdict)
    if verdict["candidate"]["digest"] != file_digest(measured.predictions):
        raise LongtailError(
            f"{gate.verdict} judges other predictions than {measured.predictions} holds; "
            "run the step gate again"
        )
    return verdict


def _costs(costs: Path) -> list[dict[str, Any]]:
    records = [costs / f"{step}.json" for step in STEPS]
    return [read_json(record) for record in records if record.is_file()]


def _against(material: Material, measured: Evaluation, champion: Champion) -> Versus | None:
    """The comparison with the champion, if it was evaluated on the same test images."""
    if not champion.predictions.is_file():
        return None
    ours = read_predictions(measured.predictions, material.chosen)
    theirs = read_predictions(champion.predictions, material.verdict["champion"]["chosen"])
    return None if other_test_split(ours, theirs) else versus(material.report, ours, theirs)


def _write(material: Material, against: Versus | None, out: Path) -> None:
    drawings = list(draw(material))
    with whole_directory(out) as directory:
        artifact = Report(directory)
        artifact.plots.mkdir()
        for drawing in drawings:
            (artifact.plots / f"{drawing.name}.png").write_bytes(png(drawing.figure))
        artifact.page.write_text(render_page(material, drawings, against), encoding="utf-8")
        artifact.card.write_text(render_card(material, against), encoding="utf-8")
