"""split: which images are for training, validation and test."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def split(
    params: dict,
    data_rev: str,
    remote: str,
    code_rev: str,
    images: Input[Dataset],
    split: Output[Dataset],
    pointer: Output[Artifact],
) -> None:
    """Choose the images of the splits, or fetch the version `data_rev` of an earlier choice.

    With a DVC remote the split becomes a version there, and `pointer` is its `split.dvc`.
    """
    from pathlib import Path

    from components import about
    from components.running import recorded, section
    from longtail.io import versioning
    from longtail.steps.split import split as step

    out = Path(split.path)
    with recorded("split"):
        if data_rev:
            versioning.pull(data_rev, remote=remote, out=out)
            versioning.check_belongs(out, images=Path(images.path))
        else:
            step(section("split", params), images=Path(images.path), out=out)
        text = versioning.version(out, remote=remote) if remote else ""
    Path(pointer.path).write_text(text, encoding="utf-8")
    split.metadata.update(about.split(out) | {"remote": remote})
    pointer.metadata.update({"remote": remote, "split_md5": split.metadata["split_md5"]})
