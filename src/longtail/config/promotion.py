"""Measuring, deciding and registering."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from longtail.config.section import Count, Probability, Section, require_plain


class EvaluateConfig(Section):
    """What the report computes."""

    confidence: float = Field(default=0.95, gt=0.0, lt=1.0, description="Level of the intervals.")
    calibration_bins: Count = Field(default=15, description="Bins of the calibration error.")
    batch_size: Count = Field(default=512, description="Images per forward pass.")
    examples: int = Field(
        default=4,
        ge=0,
        description="Test images that the report shows of each of the best and worst classes.",
    )


class GateConfig(Section):
    """Bounds of promotion, each compared with an interval; a bound that is null is not checked."""

    confidence: float = Field(
        default=0.95, gt=0.0, lt=1.0, description="Level of the intervals (two-sided)."
    )
    min_balanced_accuracy: Probability | None = Field(
        default=None, description="Balanced accuracy must be at least this."
    )
    min_group_accuracy: dict[str, Probability] = Field(
        default={}, description="A group's accuracy must be at least this: {few: 0.2}."
    )
    max_calibration_error: Probability | None = Field(
        default=None, description="Expected calibration error must be at most this."
    )
    min_gain: float = Field(
        default=0.0,
        ge=-1.0,
        le=1.0,
        description="Balanced-accuracy gain over the champion must be above this.",
    )
    min_group_gain: dict[str, Annotated[float, Field(ge=-1.0, le=1.0)]] = Field(
        default={},
        description="A group's gain over the champion must be above this: {few: 0.0} asks that "
        "the tail got better.",
    )
    max_group_loss: dict[str, Probability] = Field(
        default={}, description="A group must lose less than this against the champion."
    )
    max_class_loss: Probability | None = Field(
        default=None, description="No class may lose more than this against the champion."
    )
    max_super_class_loss: Probability | None = Field(
        default=None, description="The same for super-classes; right is any class of the right one."
    )
    min_class_images: Count = Field(
        default=30, description="Classes and super-classes with fewer test images are not judged."
    )
    without_champion: Literal["promote", "hold"] = Field(
        default="hold", description="Outcome if all floors hold and there is no champion yet."
    )


class ReportConfig(Section):
    """Texts of the page and the model card; an empty one is printed as not stated."""

    title: str = Field(default="", description="Name of the model in headings.")
    intended_use: str = Field(default="", description="What the model is for, and for whom.")
    out_of_scope: str = Field(default="", description="What it must not be used for.")
    data: str = Field(default="", description="Where the images come from, and on what terms.")
    license: str = Field(default="", description="Licence of the model.")
    contact: str = Field(default="", description="Who answers questions about it.")
    published: list[str] = Field(
        default=[], description="Rows printed beside ours: keys of the table of published numbers."
    )


class RegisterConfig(Section):
    """Where models and metrics go."""

    tracking_uri: str = Field(default="sqlite:///mlflow.db", description="MLflow tracking URI.")
    experiment: str = Field(default="longtail", min_length=1, description="MLflow experiment.")
    model_name: str = Field(default="longtail", description="Registered model.")
    smoke_tolerance: float = Field(
        default=1e-3,
        gt=0.0,
        description="Before an alias moves, logits of the registered artifact may differ from the "
        "evaluated ones by at most this share of the largest logit.",
    )
    patience: float = Field(
        default=120.0,
        ge=0.0,
        description="Seconds to go on trying while MLflow or its artifact store does not answer.",
    )

    @field_validator("model_name")
    @classmethod
    def _mlflow_takes_the_name(cls, name: str) -> str:
        require_plain("a model", name)
        if not name.strip() or name.startswith("."):
            raise ValueError("the name of a model is neither blank nor begins with a dot")
        return name
