"""Which loss, with its own parameters: `loss: focal`, or `loss: {name: focal, gamma: 1}`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from longtail.config.section import (
    NotNegative,
    Positive,
    Probability,
    Section,
    Share,
    refuse_unused,
)

Beta = Annotated[float, Field(gt=0.0, lt=1.0)]
SIGMOID_LOSSES = ("sigmoid_cross_entropy", "sigmoid_focal")
# Smoothing, focusing, sigmoids and SEQL blur the prior but do not take it out.
COUNTING_LOSSES = ("cross_entropy", "focal", "seql", *SIGMOID_LOSSES)
BALANCED_LOSSES = ("balanced_softmax", "logit_adjusted", "bfs")  # take out the prior themselves


class LossSection(Section):
    """Base of every loss: a name, and its own parameters."""

    name: str

    def settings(self) -> dict[str, Any]:
        """The parameters as keyword arguments of the loss's function."""
        return self.model_dump(exclude={"name"})


class CrossEntropy(LossSection):
    """Softmax cross-entropy."""

    name: Literal["cross_entropy"] = "cross_entropy"
    smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.0, description="Label smoothing."
    )


class Focal(LossSection):
    """Focal loss over a softmax."""

    name: Literal["focal"]
    gamma: NotNegative = Field(default=2.0, description="Focusing parameter; 0 is cross-entropy.")


class BalancedSoftmax(LossSection):
    """Softmax of logits shifted by the logarithm of the class counts."""

    name: Literal["balanced_softmax"]


class LogitAdjusted(LossSection):
    """Balanced softmax with an adjustable strength."""

    name: Literal["logit_adjusted"]
    tau: NotNegative = Field(default=1.0, description="Strength; 1 is balanced softmax.")


class Ldam(LossSection):
    """Margins that grow towards the tail; uses a cosine head."""

    name: Literal["ldam"]
    max_margin: NotNegative = Field(default=0.5, description="Margin of the rarest class.")
    scale: Positive = Field(default=30.0, description="Factor of the cosines.")


class Seql(LossSection):
    """Softmax equalization: images of other classes push rare classes down less often."""

    name: Literal["seql"]
    gamma: Probability = Field(default=0.9, description="Probability that a push is left out.")
    rare_below: Probability = Field(
        default=0.005, description="Classes below this share of the training images are rare."
    )


class LabelAwareSmoothing(LossSection):
    """Label smoothing that grows towards the head."""

    name: Literal["label_aware_smoothing"]
    head: Probability = Field(default=0.4, description="Smoothing of the largest class.")
    tail: Probability = Field(default=0.1, description="Smoothing of the smallest class.")


class SigmoidCrossEntropy(LossSection):
    """One sigmoid per class."""

    name: Literal["sigmoid_cross_entropy"]


class SigmoidFocal(LossSection):
    """Focal loss over one sigmoid per class."""

    name: Literal["sigmoid_focal"]
    gamma: NotNegative = Field(
        default=2.0, description="Focusing parameter; 0: sigmoid cross-entropy."
    )


class Bfs(LossSection):
    """Balanced focal softmax; with weight decay on the head it is BWLM."""

    name: Literal["bfs"]
    alpha: Probability = Field(default=0.1, description="Share of the class-balanced focal loss.")
    beta: Beta = Field(default=0.9999, description="Of the effective number.")
    gamma: NotNegative = Field(default=2.0, description="Focusing parameter.")


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Loss = Annotated[
    CrossEntropy
    | Focal
    | BalancedSoftmax
    | LogitAdjusted
    | Ldam
    | Seql
    | LabelAwareSmoothing
    | SigmoidCrossEntropy
    | SigmoidFocal
    | Bfs,
    Field(discriminator="name"),
    BeforeValidator(_by_name),
]


class Reweighting(Section):
    """Class weights on the losses; deferred re-weighting (DRW) if they start later."""

    scheme: Literal["inverse_frequency", "effective_number"] = Field(
        description="1 / n_j (weighted CE), or 1 over the effective number (class-balanced)."
    )
    beta: Beta = Field(default=0.9999, description="Of the effective number.")
    start: Share = Field(
        default=0.0,
        description="Share of the epochs after which the weights apply, at the latest in the last "
        "epoch; DRW: 0.8.",
    )
    reduction: Literal["weighted_mean", "batch_mean"] = Field(
        default="weighted_mean",
        description="Divide by the sum of the weights (as torch does), or by the number of images "
        "(as Cui et al. do; usual for focal and sigmoid losses).",
    )

    @model_validator(mode="after")
    def _beta_is_of_the_effective_number(self) -> "Reweighting":
        if self.scheme == "inverse_frequency":
            refuse_unused(self, "beta", where="with scheme: inverse_frequency")
        return self
