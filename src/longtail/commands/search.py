"""`longtail search`: find the weight decay on a part of the training images, and set it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from longtail.commands.cost import recorded
from longtail.commands.steps import DEFAULT_PARAMS, Images, Params, Profile, Seal, Train

Out = Annotated[Path, typer.Option(help="Result and pictures; the study is kept beside it.")]
Apply = Annotated[bool, typer.Option("--apply", help="Set represent.weight_decay in the file.")]


def search(
    images: Images = Path("data/images"),
    train: Train = Path("data/split/train.parquet"),
    profile: Profile = Path("data/split/profile.json"),
    validation: Seal = Path("reports/validation/passed.json"),
    out: Out = Path("reports/search"),
    params: Params = DEFAULT_PARAMS,
    apply: Apply = False,
) -> None:
    """Search the weight decay by TPE, then tau.

    On four fifths of the training images, judged by the last fifth; then `dvc repro` fits all.
    """
    from longtail.artifacts import Search
    from longtail.config.params import load_section
    from longtail.config.promotion import RegisterConfig
    from longtail.config.search import SearchConfig
    from longtail.config.training import RepresentConfig
    from longtail.files import read_json
    from longtail.io.search_log import log_search
    from longtail.steps.search import search as step

    with recorded("search"):
        step(
            load_section(params, "search", SearchConfig),
            load_section(params, "represent", RepresentConfig),
            images=images,
            train=train,
            profile=profile,
            validation=validation,
            out=out,
        )
    result = read_json(Search(out).result)
    register = load_section(params, "register", RegisterConfig)
    log_search(register.tracking_uri, register.experiment, result, Search(out))
    _tell(result, out)
    if apply:
        set_weight_decay(params, result["weight_decay"])
        typer.echo(f"{params} has it now; `dvc repro` fits all training images.")
    else:
        setting = f"represent.weight_decay={result['weight_decay']:.4g}"
        typer.echo(f"Fit all training images with it: dvc exp run -S {setting}")


def set_weight_decay(params: Path, value: float) -> None:
    """Write `represent.weight_decay` into a parameter file; all else stays, comments too."""
    from ruamel.yaml import YAML

    from longtail.files import whole_file

    yaml = YAML()
    yaml.preserve_quotes = True
    content = yaml.load(params.read_text(encoding="utf-8"))
    content["represent"]["weight_decay"] = float(f"{value:.4g}")
    with whole_file(params) as partial, partial.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def _tell(result: dict[str, Any], out: Path) -> None:
    for row in result["trials"]:
        score = "" if row["score"] is None else f"{100 * row['score']:6.2f} %"
        state = row["state"].lower()
        typer.echo(f"  weight decay {row['weight_decay']:.3e}  {state:<9} {score}")
    typer.echo(f"Best: {result['weight_decay']:.3e}, {100 * result['score']:.2f} % held out")
    if result["tau"] is not None:
        share = 100 * result["score_with_tau"]
        typer.echo(f"With tau {result['tau']}: {share:.2f} %. Pictures: {out}")
