"""`longtail search`: find weight decay and tau on a part of the training images, and set them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from longtail.commands.steps import DEFAULT_PARAMS, Images, Params, Profile, Seal, Train
from longtail.cost import recorded

Out = Annotated[
    Path,
    typer.Option(
        file_okay=False, help="Where result and pictures go; the Optuna study is kept beside it."
    ),
]
Apply = Annotated[bool, typer.Option("--apply", help="Set what was found in the parameter file.")]


def search(
    images: Images = Path("data/images"),
    train: Train = Path("data/split/train.parquet"),
    profile: Profile = Path("data/split/profile.json"),
    validation: Seal = Path("reports/validation/passed.json"),
    out: Out = Path("reports/search"),
    params: Params = DEFAULT_PARAMS,
    apply: Apply = False,
) -> None:
    """Search weight decay, then tau, by TPE.

    Trains on four fifths of the training images and scores on the rest; `dvc repro` then trains on
    all of them.
    """
    from longtail.artifacts import Search
    from longtail.config.params import load_section
    from longtail.config.promotion import RegisterConfig
    from longtail.config.represent import RepresentConfig
    from longtail.config.search import SearchConfig
    from longtail.config.stage2 import EmbedConfig
    from longtail.files import read_json
    from longtail.io.search_log import log_search
    from longtail.progress import tell_logs
    from longtail.steps.search import search as step

    tell_logs()
    register = load_section(params, "register", RegisterConfig)
    with recorded("search"):
        step(
            load_section(params, "search", SearchConfig),
            load_section(params, "represent", RepresentConfig),
            images=images,
            train=train,
            profile=profile,
            validation=validation,
            out=out,
            test_time_flip=load_section(params, "embed", EmbedConfig).test_time_flip,
        )
    result = read_json(Search(out).result)
    _tell(result, out)
    _apply_or_offer(params, settings(result), apply=apply)
    log_search(register.tracking_uri, register.experiment, result, Search(out))


def _apply_or_offer(params: Path, found: dict[str, float], *, apply: bool) -> None:
    from longtail.config.params import set_parameters

    if apply:
        set_parameters(params, found)
        typer.echo(f"{params} has them now; `dvc repro` fits all training images.")
    else:
        # ++ sets a key whether the parameter file has it or not.
        changes = " ".join(f"-S ++{key}={value}" for key, value in found.items())
        typer.echo(f"Fit all training images with them: dvc exp run {changes}")


def settings(result: dict[str, Any]) -> dict[str, float]:
    """Return dotted parameters and their values, rounded to four digits."""
    found = {"represent.weight_decay": float(f"{result['weight_decay']:.4g}")}
    if result["tau"] is not None:
        found["tau_norm.stage1_tau"] = result["tau"]
    return found


def _tell(result: dict[str, Any], out: Path) -> None:
    for row in result["trials"]:
        score = row["error"] or ""
        if row["score"] is not None:
            score = f"{100 * row['score']:6.2f} %"
        state = row["state"].lower()
        typer.echo(f"  weight decay {row['weight_decay']:.3e}  {state:<9} {score}")
    typer.echo(f"Best: {result['weight_decay']:.3e}, {100 * result['score']:.2f} % held out")
    if result["tau"] is not None:
        typer.echo(f"With tau {result['tau']}: {100 * result['score_with_tau']:.2f} %")
    typer.echo(f"Pictures: {out}")
