"""`longtail study`: run a grid of flows, see where it stands, and report on it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from longtail.errors import LongtailError

app = typer.Typer(
    help="Compare methods over a grid of parameters and seeds.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
File = Annotated[Path, typer.Argument(help="Study file.")]
Store = Annotated[Path, typer.Option(help="Results of all steps; studies share what is equal.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Cells at a time; default: the cores.")]
DEFAULT_STORE = Path("data/study")


@app.command()
def run(file: File, store: Store = DEFAULT_STORE, workers: Workers = None) -> None:
    """Run every cell that is not done; status 1 if one failed.

    Ended early, the next call goes on where this one stopped.
    """
    from longtail.study import runner
    from longtail.study.grid import cells, read_study

    grid = cells(read_study(file))
    states = runner.run(
        file,
        grid,
        store=store,
        workers=min(workers or len(os.sched_getaffinity(0)), len(grid)),
        tell=typer.echo,
    )
    failed = [state for state in states if state.name == "failed"]
    typer.echo(f"{len(states) - len(failed)} of {len(states)} cells are done in {store}")
    if failed:
        raise LongtailError(
            f"{len(failed)} cells failed, {failed[0].cell.name} with: {failed[0].error}\n"
            f"Their logs are in {store / 'cells'}; `longtail study run {file}` tries them again"
        )


@app.command()
def status(file: File, store: Store = DEFAULT_STORE) -> None:
    """Say of every cell whether it is done, failed or waiting."""
    from longtail.study import runner
    from longtail.study.grid import cells, read_study

    for cell in cells(read_study(file)):
        found = runner.state(cell, store)
        done = sum(task.done for task in found.tasks.values())
        note = found.error or (f"{done} of {len(found.tasks)} steps" if found.tasks else "")
        typer.echo(f"{found.name:<8} {cell.name}  {note if found.name != 'done' else ''}".rstrip())
