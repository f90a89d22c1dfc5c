"""The `longtail` command: one sub-command per step, plus `demo` and `doctor`.

Steps and heavy libraries are imported inside the commands, so that `longtail --help` is instant.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

import longtail
from longtail.commands import steps
from longtail.commands.ensemble import ensemble
from longtail.commands.models import app as models
from longtail.commands.pin import pin
from longtail.commands.pipeline import app as pipeline
from longtail.commands.predict import export_onnx, predict
from longtail.commands.publish import publish
from longtail.commands.reproduce import reproduce
from longtail.commands.search import search
from longtail.commands.study import app as study
from longtail.errors import LongtailError, file_errors_explained

app = typer.Typer(
    help="Long-tailed image classification, from labelled images to a gated, registered model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich alone would cost a third of the half second
)
steps.add_to(app)
app.command()(steps.guarded(search))
app.command()(steps.guarded(ensemble))
app.command()(steps.guarded(publish))
app.add_typer(study, name="study")
app.add_typer(models, name="models")
app.command()(reproduce)
app.add_typer(pipeline, name="pipeline")
app.command()(pin)
app.command()(steps.guarded(predict))
app.command()(steps.guarded(export_onnx))


def main() -> None:
    """Run the command line; a `LongtailError` is printed alone and exits with status 1."""
    try:
        with file_errors_explained():
            app(prog_name="longtail")
    except LongtailError as error:
        sys.exit(f"longtail: {error}")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(longtail.__version__)
        raise typer.Exit


@app.command()
def demo() -> None:
    """Run the flow with `dvc repro`; show the result."""
    from longtail import demo

    demo.run()


@app.command()
def doctor(
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Check the environment of the flow.

    Versions, GPU, disk, S3, MLflow: each line is ok or says what to do; status 1 unless all are ok.
    """
    from longtail import doctor

    if not doctor.report(doctor.examine(params)):
        raise typer.Exit(1)
