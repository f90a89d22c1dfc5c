"""gate: promote, hold or reject."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    params: dict,
    code_rev: str,
    evaluation: Input[Dataset],
    champion: Input[Dataset],
    verdict: Output[Artifact],
) -> str:
    """Judge the candidate; the outcome in one word decides which branch is taken."""
    from pathlib import Path

    from components import about
    from components.running import recorded, section
    from longtail.steps.gate import gate as step

    out = Path(verdict.path)
    with recorded("gate"):
        step(
            section("gate", params),
            evaluation=Path(evaluation.path),
            champion=Path(champion.path),
            out=out,
        )
    verdict.metadata.update(about.verdict(out))
    return str(verdict.metadata["outcome"])
