"""`longtail ensemble`: one model from several."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Average(StrEnum):
    """What is averaged over the members."""

    logits = "logits"
    probabilities = "probabilities"


def ensemble(
    member: Annotated[
        list[Path],
        typer.Option(help="Directory of a model (`representation`, `tau_norm`); repeat."),
    ],
    out: Annotated[
        Path, typer.Option(file_okay=False, help="The joined representation; replaced as a whole.")
    ],
    average: Annotated[
        Average, typer.Option(help="Average logits or probabilities.")
    ] = Average.logits,
) -> None:
    """Join trained models into one.

    Concatenates their features and averages the outputs of their chosen heads.
    """
    from longtail.steps.ensemble import ensemble as step

    step(member, average=average.value, out=out)
