"""tau_norm: heads normalised by tau, chosen on val."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tau_norm(
    params: dict,
    code_rev: str,
    features: Input[Dataset],
    representation: Input[Model],
    classifier: Input[Model],
    heads: Output[Model],
) -> None:
    """Normalise both heads by tau and let val choose one."""
    from pathlib import Path

    from components import about
    from components.running import recorded, section
    from longtail.steps.tau_norm import tau_norm as step

    with recorded("tau_norm"):
        step(
            section("tau_norm", params),
            features=Path(features.path),
            representation=Path(representation.path),
            classifier=Path(classifier.path),
            out=Path(heads.path),
        )
    heads.metadata.update(about.tau_norm(Path(heads.path)))
