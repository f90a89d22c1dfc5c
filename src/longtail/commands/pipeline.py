"""`longtail pipeline`: the flow on Kubeflow, compiled, run here, or sent to a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from longtail.commands import cluster
from longtail.commands.cluster import Params
from longtail.commands.steps import DEFAULT_PARAMS
from longtail.commands.study import Only
from longtail.errors import LongtailError

app = typer.Typer(
    help="The flow as a Kubeflow pipeline.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def compile(
    out: Annotated[
        Path | None, typer.Option(help="YAML; default: pipelines/training.yaml or <study>.yaml.")
    ] = None,
    params: Params = DEFAULT_PARAMS,
    study: Annotated[
        Path | None, typer.Option(help="Study file; compiles its cells as one pipeline.")
    ] = None,
    only: Only = None,
    parallelism: Annotated[int, typer.Option(min=1, help="Cells of a study at a time.")] = 4,
) -> None:
    """Write the pipeline for Kubeflow, with the parameter file's values as defaults."""
    from longtail.files import whole_file
    from pipelines.compiling import compiled_training

    if study:
        from pipelines.study import compiled_study

        text = compiled_study(study, params, only=only or (), parallelism=parallelism)
    elif only:
        raise LongtailError("--only names cells of a study; name its file with --study")
    else:
        text = compiled_training(params)
    out = out or Path("pipelines") / f"{study.stem if study else 'training'}.yaml"
    with whole_file(out) as partial:
        partial.write_text(text, encoding="utf-8")
    typer.echo(f"{out}: {len(text) // 1000} kB")


@app.command()
def run(
    params: Params = DEFAULT_PARAMS,
    root: Annotated[Path, typer.Option(help="For artifacts, cache, checkpoints and log.")] = Path(
        "data/pipeline"
    ),
    cache: Annotated[bool, typer.Option(help="Use results of earlier runs.")] = True,
    containers: Annotated[
        bool, typer.Option(help="Each step in a container (Docker, Podman).")
    ] = False,
) -> None:
    """Run the pipeline on this machine.

    An interrupted run goes on where it was: finished steps are in the cache, training has its
    checkpoint.
    """
    from pipelines.local import run as run_here

    done = run_here(params, root=root, caching=cache, containers=containers, tell=typer.echo)
    typer.echo(f"\n{done['text']}")
    for page in done["pages"]:
        typer.echo(f"Page: {page}")
    typer.echo(f"Log:  {done['log']}")


for command in (cluster.submit, cluster.schedule, cluster.status):
    app.command()(command)
