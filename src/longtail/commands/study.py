"""`longtail study`: run a grid of flows, show its state, and report on it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longtail.errors import LongtailError
from longtail.files import require_apart

if TYPE_CHECKING:
    from longtail.study.grid import Cell
    from longtail.study.runner import State

app = typer.Typer(
    help="Compare methods over a grid of parameters and seeds.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
File = Annotated[Path, typer.Argument(help="Study file.")]
Store = Annotated[Path, typer.Option(help="Results of all steps; studies share equal ones.")]
Out = Annotated[
    Path | None, typer.Option(file_okay=False, help="Default: reports/study/<name of the file>.")
]
Params = Annotated[Path, typer.Option(help="Parameter file; `register` says where MLflow is.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Cells at a time; default: one per GPU, else per core.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only cells of this name, as 'IF 100 / *'; repeatable."),
]
DEFAULT_STORE = Path("data/study")


@app.command()
def run(
    file: File, only: Only = None, store: Store = DEFAULT_STORE, workers: Workers = None
) -> None:
    """Run every cell that is not done; status 1 if one failed.

    If it is ended early, the next call goes on where it stopped.
    """
    from longtail.parallel import usable_cores
    from longtail.study import runner

    gpus = _visible_gpus()
    states = runner.run(
        _cells(file, only),
        store=store,
        workers=workers or len(gpus) or usable_cores(),
        gpus=gpus,
        tell=typer.echo,
    )
    failed = [state for state in states if state.name == "failed"]
    typer.echo(f"{len(states) - len(failed)} of {len(states)} cells are done in {store}")
    if failed:
        raise LongtailError(
            f"{len(failed)} cells failed, {failed[0].cell.name} with: {failed[0].error}\n"
            f"Their logs are in {store / 'cells'}; the same command tries them again"
        )


@app.command()
def status(file: File, only: Only = None, store: Store = DEFAULT_STORE) -> None:
    """Show for every cell whether it is done, running, failed or waiting."""
    from longtail.study.records import CellRecords

    for found in _states(file, only, store):
        done = sum(task.done for task in found.tasks.values())
        started = found.name != "done" and bool(found.tasks)
        note = found.error or (f"{done} of {len(found.tasks)} steps" if started else "")
        if found.name == "running":
            note = "; ".join([note, *CellRecords(found.cell, store).lines()[-1:]])
        typer.echo(f"{found.name:<8} {found.cell.name}  {note}".rstrip())


@app.command()
def report(
    file: File,
    only: Only = None,
    store: Store = DEFAULT_STORE,
    out: Out = None,
    params: Params = Path("params.yaml"),
) -> None:
    """Compare the finished cells: a table, a page with pictures, and a run in MLflow."""
    from longtail.config.params import load_section
    from longtail.config.promotion import RegisterConfig
    from longtail.io.study_log import log_study
    from longtail.report.study import markdown, write_study
    from longtail.study.grid import read_study
    from longtail.study.results import record, rows
    from longtail.study.summary import summarise

    out = out or Path("reports/study") / file.stem
    require_apart(out, kept=[file, store, params])
    config, states = read_study(file), _states(file, only, store)
    summary = summarise(config, rows(states, variants=config.variants))
    write_study(file.stem, summary, out=out)
    typer.echo(markdown(summary), nl=False)
    missing = [state.cell.name for state in states if state.name != "done"]
    if missing:
        typer.echo(f"{len(missing)} of {len(states)} cells are not in it: {'; '.join(missing)}")
    typer.echo(f"Page: {out / 'index.html'}")
    register = load_section(params, "register", RegisterConfig)
    log_study(
        register.tracking_uri,
        register.experiment,
        file.stem,
        cells=[record(state) for state in states if state.name in ("done", "failed")],
        report=out,
    )


@app.command()
def advise(file: File, only: Only = None, store: Store = DEFAULT_STORE) -> None:
    """Say which method to use and what it costs, from val only."""
    from longtail.study.advice import advise_study

    for line in advise_study(_states(file, only, store), file=file):
        typer.echo(line)


def _visible_gpus() -> list[str]:
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(gpu) for gpu in range(count)])[:count]


def _cells(file: Path, only: list[str] | None) -> "list[Cell]":
    from longtail.study.grid import cells, matching, read_study

    return matching(cells(read_study(file)), only or ())


def _states(file: Path, only: list[str] | None, store: Path) -> "list[State]":
    from longtail.study.runner import state

    return [state(cell, store) for cell in _cells(file, only)]
