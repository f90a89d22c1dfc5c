"""classify: stage 2, a balanced classifier on the features."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def classify(
    params: dict,
    code_rev: str,
    features: Input[Dataset],
    representation: Input[Model],
    classifier: Output[Model],
) -> None:
    """Train the classifier of stage 2."""
    from pathlib import Path

    from components import about
    from components.running import recorded, section
    from longtail.steps.classify import classify as step

    with recorded("classify"):
        step(
            section("classify", params),
            features=Path(features.path),
            representation=Path(representation.path),
            out=Path(classifier.path),
        )
    classifier.metadata.update(about.classifier(Path(classifier.path)))
