"""The search for weight decay and tau, on a part of the training images alone."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from longtail.config.section import Count, Positive, Section


class SearchConfig(Section):
    """How many weight decays and taus are tried, where, and how they are judged."""

    trials: Count = Field(default=12, description="Weight decays that are tried.")
    startup_trials: Count = Field(
        default=4, description="First trials, drawn at random; the others are drawn by TPE."
    )
    weight_decay: tuple[Positive, Positive] = Field(
        default=(1e-5, 1e-1), description="Range, searched on a logarithmic scale."
    )
    tau_trials: Annotated[int, Field(ge=2)] = Field(
        default=30, description="Taus in 0..2 that are tried on the best model, 0 and 1 among them."
    )
    held_out: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.2, description="Share of each class's training images that scores the trials."
    )
    epochs: Count | None = Field(
        default=None,
        description="Epochs of a trial; default: represent.epochs. Short ones find too low values.",
    )
    select_by: Literal["balanced_accuracy", "accuracy"] = Field(
        default="balanced_accuracy", description="Score on the held-out images."
    )
    prune: bool = Field(
        default=True,
        description="After half of the epochs, end trials in the worst quarter so far.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the held-out images and the search.")

    @model_validator(mode="after")
    def _range_is_a_range(self) -> "SearchConfig":
        low, high = self.weight_decay
        if low >= high:
            raise ValueError(f"weight_decay goes from low to high, not from {low} to {high}")
        return self
