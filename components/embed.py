"""embed: features of the frozen backbone."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def embed(
    params: dict,
    code_rev: str,
    images: Input[Dataset],
    split: Input[Dataset],
    representation: Input[Model],
    features: Output[Dataset],
) -> None:
    """Compute the features of train and val once."""
    from pathlib import Path

    from components import about
    from components.running import recorded, section
    from longtail.artifacts import Split
    from longtail.steps.embed import embed as step

    tables = Split(Path(split.path))
    with recorded("embed"):
        step(
            section("embed", params),
            images=Path(images.path),
            train=tables.train,
            val=tables.val,
            representation=Path(representation.path),
            out=Path(features.path),
        )
    features.metadata.update(about.features(Path(features.path)))
