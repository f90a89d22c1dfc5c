"""`longtail predict` and `longtail export-onnx`: registered models in use."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longtail.commands.steps import DEFAULT_PARAMS

if TYPE_CHECKING:
    from longtail.config.section import S
    from longtail.steps.predict import Summary

Model = Annotated[
    str, typer.Option(help="models:/name@alias, models:/name/version, or a model's directory.")
]
Params = Annotated[
    Path, typer.Option(help="Parameter file, for the sections register and ingest.s3.")
]


class Trained(StrEnum):
    """The class distribution that a model's probabilities assume."""

    counts = "counts"
    balanced = "balanced"


def predict(
    model: Model,
    images: Annotated[str, typer.Option(help="Directory or s3://bucket/prefix.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="Parquet file, one row per image.")],
    prior: Annotated[
        Path | None, typer.Option(help="Class shares to predict for: JSON or CSV.")
    ] = None,
    estimate_prior: Annotated[
        bool, typer.Option("--estimate-prior", help="Estimate those shares from the images.")
    ] = False,
    trained_as: Annotated[
        Trained | None,
        typer.Option(
            help="Class distribution the model was trained on; default: what the model states."
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Classes per image.")] = 5,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 256,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Score all images of a directory or bucket.

    An image that cannot be read gets a row with the reason.
    """
    from longtail.config.ingest import IngestConfig
    from longtail.config.promotion import RegisterConfig
    from longtail.io.model_files import model_directory
    from longtail.steps.predict import predict as step

    uri = _section(params, "register", RegisterConfig).tracking_uri
    with model_directory(model, tracking_uri=uri) as directory:
        summary = step(
            directory,
            images=images,
            out=out,
            s3=_section(params, "ingest", IngestConfig).s3,
            batch_size=batch_size,
            top_k=top_k,
            prior=prior,
            estimate=estimate_prior,
            trained_balanced=None if trained_as is None else trained_as is Trained.balanced,
        )
    _tell(summary, estimated=estimate_prior)
    typer.echo(str(out))


def export_onnx(
    model: Model,
    out: Annotated[Path, typer.Option(dir_okay=False, help="ONNX file.")],
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Write a model as ONNX, checked against torch."""
    from longtail.config.promotion import RegisterConfig
    from longtail.io.model_files import model_directory
    from longtail.io.onnx_file import export_onnx as write

    uri = _section(params, "register", RegisterConfig).tracking_uri
    with model_directory(model, tracking_uri=uri) as directory:
        difference = write(directory, out)
    typer.echo(f"{out}: logits within {difference:.1e} of torch's, relative to the largest")


def _tell(summary: "Summary", *, estimated: bool) -> None:
    predicted = ", ".join(f"{name} {count}" for name, count in summary.groups.items())
    typer.echo(f"{summary.images} images, {summary.failed} of them not readable")
    typer.echo(f"Predicted by group of the class: {predicted or 'nothing'}")
    if estimated and summary.prior is not None:
        common = sorted(summary.prior.items(), key=lambda pair: -pair[1])[:5]
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in common)
        typer.echo(f"Estimated shares, the largest first: {shares}")


def _section(params: Path, name: str, model: "type[S]") -> "S":
    """A section of the parameter file, or its defaults where there is no file of the usual name."""
    from longtail.config.params import load_section

    if params == DEFAULT_PARAMS and not params.is_file():
        return model()
    return load_section(params, name, model)
