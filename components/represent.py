"""represent: stage 1, on as many devices as its pod has."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def represent(
    params: dict,
    processes: int,
    code_rev: str,
    images: Input[Dataset],
    split: Input[Dataset],
    validation: Input[Artifact],
    representation: Output[Model],
) -> None:
    """Train the backbone; after an interruption training goes on from its checkpoint."""
    from pathlib import Path

    from components import about, provenance
    from components.running import recorded, section
    from components.training import train
    from longtail.artifacts import Split, Validation

    tables = Split(Path(split.path))
    with recorded("represent"):
        train(
            section("represent", params),
            processes=processes,
            code_rev=code_rev,
            paths={
                "images": Path(images.path),
                "train": tables.train,
                "val": tables.val,
                "profile": tables.profile,
                "validation": Validation(Path(validation.path)).seal,
                "out": Path(representation.path),
            },
        )
    known = about.representation(Path(representation.path)) | provenance.of_this_pod()
    representation.metadata.update(known)
