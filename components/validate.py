"""validate: every rule on images and split."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def validate(
    params: dict,
    code_rev: str,
    images: Input[Dataset],
    split: Input[Dataset],
    validation: Output[Artifact],
    data_docs: Output[HTML],
) -> None:
    """Stop the flow if images or split break a rule; the Data Docs' page of all rules is shown."""
    import shutil
    from pathlib import Path

    from components import about
    from components.running import recorded, section
    from longtail.artifacts import Validation
    from longtail.steps.validate import validate as step

    out = Path(validation.path)
    with recorded("validate"):
        step(
            section("validate", params),
            images=Path(images.path),
            split=Path(split.path),
            out=out,
        )
    shutil.copyfile(Validation(out).docs / "index.html", data_docs.path)
    validation.metadata.update(about.validation(out))
