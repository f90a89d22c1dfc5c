"""report: what people read of a run."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    params: dict,
    code_rev: str,
    provenance: Input[Artifact],
    evaluation: Input[Dataset],
    champion: Input[Dataset],
    verdict: Input[Artifact],
    validation: Input[Artifact],
    split: Input[Dataset],
    representation: Input[Model],
    classifier: Input[Model],
    heads: Input[Model],
    report: Output[Artifact],
    page: Output[HTML],
    card: Output[Markdown],
) -> None:
    """Write the page and the model card, which are shown, and the pictures as files."""
    import shutil
    from pathlib import Path

    from components.provenance import with_split
    from components.running import costs, recorded, section
    from longtail.artifacts import Report
    from longtail.steps.report import report as step

    out = Path(report.path)
    with (
        recorded("report"),
        with_split(
            Path(provenance.path),
            split=Path(split.path),
            remote=split.metadata.get("remote"),
            representation=representation.metadata,
        ) as origin,
        costs() as noted,
    ):
        step(
            section("report", params),
            evaluation=Path(evaluation.path),
            champion=Path(champion.path),
            gate=Path(verdict.path),
            validation=Path(validation.path),
            split=Path(split.path),
            representation=Path(representation.path),
            classifier=Path(classifier.path),
            tau_norm=Path(heads.path),
            provenance=origin,
            costs=noted,
            out=out,
        )
    shutil.copyfile(Report(out).page, page.path)
    shutil.copyfile(Report(out).card, card.path)
