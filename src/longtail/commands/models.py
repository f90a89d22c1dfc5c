"""`longtail models`: what the registry holds, and which version is the champion."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtail.commands.steps import DEFAULT_PARAMS

if TYPE_CHECKING:
    from longtail.config.promotion import RegisterConfig
    from longtail.steps.promote import Change

app = typer.Typer(
    help="Versions of the registered model: list, compare, promote, roll back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Which = Annotated[str, typer.Argument(help="Number or alias, such as 3 or champion.")]
Params = Annotated[Path, typer.Option(help="Parameter file; its section `register` is read.")]
Model = Annotated[str | None, typer.Option(help="Registered model; default: register.model_name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
By = Annotated[str | None, typer.Option(help="Who does this; default: the user and the machine.")]


@app.command("list")
def list_versions(
    params: Params = DEFAULT_PARAMS, model: Model = None, as_json: Json = False
) -> None:
    """List all versions, the newest first, with aliases, verdict and accuracies."""
    config = register_config(params, model)
    from longtail.commands import model_tables
    from longtail.io import catalogue
    from longtail.io.connection import connect

    with connect(config.tracking_uri) as tracker:
        found = catalogue.versions(tracker, config.model_name)
    if as_json:
        _print_json(found)
    else:
        model_tables.versions(config.model_name, found)


@app.command()
def show(
    version: Which, params: Params = DEFAULT_PARAMS, model: Model = None, as_json: Json = False
) -> None:
    """Show all that is known of one version."""
    config = register_config(params, model)
    from longtail.commands import model_tables
    from longtail.io import catalogue
    from longtail.io.connection import connect

    with connect(config.tracking_uri) as tracker:
        found = catalogue.describe(tracker, config.model_name, version)
    if as_json:
        _print_json(found | {"changes": [asdict(entry) for entry in found["changes"]]})
    else:
        model_tables.version(config.model_name, found)


@app.command()
def diff(
    first: Which,
    second: Which,
    params: Params = DEFAULT_PARAMS,
    model: Model = None,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="Level of the intervals.")
    ] = 0.95,
    classes: Annotated[
        int, typer.Option(min=0, help="How many best and worst classes to show.")
    ] = 10,
    as_json: Json = False,
) -> None:
    """Say what SECOND does better and worse than FIRST, by group and class, with intervals.

    Compares the predictions that are stored with both versions, on the same test images.
    """
    config = register_config(params, model)
    from longtail.commands import model_tables
    from longtail.steps.compare import compare

    found = compare(config, first, second, confidence=confidence)
    if as_json:
        _print_json(asdict(found))
    else:
        model_tables.comparison(config.model_name, found, classes=classes)


@app.command()
def promote(
    version: Which,
    why: Annotated[str | None, typer.Option(help="The reason; required if the gate held it.")] = (
        None
    ),
    override: Annotated[
        str | None, typer.Option(help="Why to promote against the gate's verdict; recorded.")
    ] = None,
    by: By = None,
    params: Params = DEFAULT_PARAMS,
    model: Model = None,
) -> None:
    """Make a version the champion.

    The registered artifact is checked first. A version that the gate rejected needs --override.
    """
    config = register_config(params, model)
    from longtail.io.promotion import whoever
    from longtail.steps.promote import promote as step

    change = step(config, version, who=by or whoever(), why=why, override=override)
    if change is None:
        typer.echo(f"{version} is the champion of {config.model_name} already; nothing to do.")
    else:
        _tell(config.model_name, change)


@app.command()
def rollback(
    why: Annotated[str, typer.Option(help="The reason; recorded.")],
    by: By = None,
    params: Params = DEFAULT_PARAMS,
    model: Model = None,
) -> None:
    """Make the previous champion the champion again."""
    config = register_config(params, model)
    from longtail.io.promotion import whoever
    from longtail.steps.promote import rollback as step

    _tell(config.model_name, step(config, who=by or whoever(), why=why))


@app.command()
def history(params: Params = DEFAULT_PARAMS, model: Model = None, as_json: Json = False) -> None:
    """Print every change of the champion: when, who, why, and what the gate had said."""
    config = register_config(params, model)
    from longtail.commands import model_tables
    from longtail.io import catalogue
    from longtail.io.connection import connect

    with connect(config.tracking_uri) as tracker:
        entries, remark = catalogue.changes(tracker, config.model_name)
    if as_json:
        _print_json({"changes": [asdict(entry) for entry in entries], "remark": remark})
    else:
        model_tables.history(config.model_name, entries, remark)


def register_config(params: Path, model: str | None) -> "RegisterConfig":
    """Read the section `register`, with another model if one is named.

    Raises:
        LongtailError: no model can have that name, or there is no local database to find it in.
    """
    from longtail.config.params import load_section
    from longtail.config.promotion import RegisterConfig
    from longtail.config.section import parse
    from longtail.io.database import require_existing

    config = load_section(params, "register", RegisterConfig)
    if model is not None:
        values = config.model_dump() | {"model_name": model}
        config = parse(RegisterConfig, values, where="--model")
    require_existing(config.tracking_uri, wanted=config.model_name)
    return config


def _tell(name: str, change: "Change") -> None:
    from longtail.io.registry import titled

    entry = change.entry
    typer.echo(
        f"The champion of {name} is version {entry.version}, no more {titled(entry.replaced)}."
    )
    typer.echo(f"  {entry.who}, {entry.when}: {entry.why}")
    typer.echo(f"  previous-champion: {titled(entry.previous)}")
    typer.echo(f"  checked before: {change.smoke or 'no, it was not registered by longtail'}")


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, default=str))
