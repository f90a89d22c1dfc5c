"""register: the run in MLflow and, unless rejected, a version in its registry."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    params: dict,
    code_rev: str,
    provenance: Input[Artifact],
    verdict: Input[Artifact],
    report: Input[Artifact],
    evaluation: Input[Dataset],
    representation: Input[Model],
    heads: Input[Model],
    split: Input[Dataset],
    registration: Output[Artifact],
) -> None:
    """Log the run; register the model and set its aliases as the verdict says. Always runs."""
    from pathlib import Path

    from components import about
    from components.provenance import with_split
    from components.running import recorded, section
    from longtail.steps.register import register as step

    out = Path(registration.path)
    with (
        recorded("register") as record,
        with_split(
            Path(provenance.path),
            split=Path(split.path),
            remote=split.metadata.get("remote"),
            representation=representation.metadata,
        ) as origin,
    ):
        step(
            section("register", params),
            gate=Path(verdict.path),
            report=Path(report.path),
            evaluation=Path(evaluation.path),
            representation=Path(representation.path),
            tau_norm=Path(heads.path),
            split=Path(split.path),
            provenance=origin,
            out=out,
        )
        record["result"] = about.registration(out)
    registration.metadata.update(record["result"])
