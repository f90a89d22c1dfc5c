"""`longtail reproduce`: a registered model made again from its commit, split and parameters."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longtail.commands.models import Model, Params, Which, register_config
from longtail.commands.steps import DEFAULT_PARAMS
from longtail.errors import LongtailError

if TYPE_CHECKING:
    from longtail.io.checkout import Checkout
    from longtail.io.origin import Origin

Into = Annotated[
    Path | None, typer.Option(help="Empty directory to work in; default: a new temporary one.")
]
_CHANGES_LOST = (
    "warning: the working tree had uncommitted changes that were not stored (a submitted pipeline "
    "stores none), so the model is made again without them. Commit before you submit"
)


def reproduce(
    version: Which, into: Into = None, params: Params = DEFAULT_PARAMS, model: Model = None
) -> None:
    """Make a registered model again and compare.

    Runs stage 1 to the evaluation again, in a clone of this repository at the model's commit, with
    its parameters and its split. Status 1 if the result differs.
    """
    config = register_config(params, model)
    from longtail.artifacts import Evaluation
    from longtail.io import catalogue, checkout, origin, registry
    from longtail.io.connection import connect
    from longtail.provenance import surroundings
    from longtail.reproduction import compare, lines

    work = Path(tempfile.mkdtemp(prefix="reproduce-")) if into is None else into
    with tempfile.TemporaryDirectory() as scratch:
        with connect(config.tracking_uri) as tracker:
            found = registry.require(tracker, config.model_name, version)
            made = origin.read(tracker, found, into=Path(scratch))
            registered = catalogue.evaluation(tracker, found, into=Path(scratch) / "evaluation")
        title = f"{config.model_name} version {found.version}"
        commit = _commit(title, made)
        typer.echo(f"{title}: commit {commit[:12]}, split {made.split_md5 or 'unknown'}, in {work}")
        if made.changes_lost:
            typer.echo(_CHANGES_LOST)
        clone = checkout.clone(Path(), commit, work)
        clone.apply(made.patch or "")
        clone.set_parameters(made.params)
        _make_data(clone, made)
        clone.run(*checkout.STAGES, single=True)
        result = compare(
            registered,
            Evaluation(clone.root / "reports" / "evaluation"),
            environment=made.environment,
            environment_now=surroundings()["environment"],
        )
    typer.echo(f"\n{title}, made again in {clone.root}:")
    for line in lines(result):
        typer.echo(f"  {line}")
    if not result.identical:
        raise typer.Exit(1)


def _commit(title: str, made: "Origin") -> str:
    if made.git_commit is None:
        image = f"; it was made by the image {made.image}" if made.image else ""
        raise LongtailError(
            f"{title} was registered outside of a Git repository, so its code is unknown{image}. "
            f"Its parameters are the artifact provenance/params.yaml of the MLflow run "
            f"{made.version.run_id}, its split has the DVC md5 {made.split_md5}"
        )
    return made.git_commit


def _make_data(clone: "Checkout", made: "Origin") -> None:
    """Bring images and split, by DVC or from the source, and check that the split is the same."""
    from longtail.io.checkout import SPLIT
    from longtail.io.versioning import dvc_directory_md5

    if clone.fetch_data(made.lock):
        typer.echo("images and split: fetched by DVC")
    elif made.split_md5 and made.split_remote:
        typer.echo(f"images: made again from the source; split: fetched from {made.split_remote}")
        clone.run("ingest", single=False)
        clone.fetch_split(made.split_md5, remote=made.split_remote)
    else:
        typer.echo("images and split: DVC does not have them any more, made again from the source")
        clone.run("split", single=False)
    md5 = dvc_directory_md5(clone.root / SPLIT)
    if made.split_md5 is None:
        typer.echo("the registry does not know the split's md5, so it cannot be checked")
    elif md5 != made.split_md5:
        raise LongtailError(
            f"the split is {md5} now, but the model was made with {made.split_md5}: the source has "
            f"other images than it had. Compare {clone.root / SPLIT / 'profile.json'} with the "
            f"artifact split/profile.json of the MLflow run {made.version.run_id}; bring back the "
            "images, or `dvc push` from a clone whose cache has the split"
        )
