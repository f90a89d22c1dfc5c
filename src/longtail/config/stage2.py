"""What follows stage 1 on its frozen backbone: features, stage 2, tau-normalisation."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from longtail.config.losses import Bfs, CrossEntropy, Loss, LossSection
from longtail.config.samplers import Sampler
from longtail.config.section import Count, Section, refuse_unused

BFS = Bfs(name="bfs")


class EmbedConfig(Section):
    """Features of the frozen backbone, computed once."""

    train_views: int = Field(
        default=1,
        ge=1,
        description="Views per training image: the plain image, and beyond 1 also cropped ones, "
        "mirrored if represent.augment.horizontal_flip is true.",
    )
    test_time_flip: bool = Field(
        default=False,
        description="Average the features of each image and its mirror image, from here on.",
    )
    batch_size: Count = Field(default=512, description="Images per forward pass.")
    seed: int = Field(default=0, ge=0, description="Seed of the augmented views.")


class ClassifyConfig(Section):
    """Stage 2: a balanced classifier on the cached features."""

    method: Literal["crt", "lws", "bwlm", "max_norm", "ncm", "logit_adjustment", "sweep"] = Field(
        default="crt",
        description="crt: re-train the classifier; lws: learn its scales; bwlm: re-train with BFS; "
        "max_norm: fine-tune with limited row norms; ncm: class means; logit_adjustment: shift by "
        "the prior; sweep: all, val chooses.",
    )
    epochs: Count = Field(default=10, description="Passes over the features.")
    batch_size: Count = Field(default=128, description="Features per step.")
    learning_rate: float = Field(default=0.1, gt=0.0, description="Rate at the cosine's start.")
    weight_decay: float = Field(default=5e-4, ge=0.0, description="L2 penalty (lws has none).")
    sampler: Sampler | None = Field(
        default=None,
        description="Default: class_balanced (crt, lws), instance (bwlm, max_norm, and crt with a "
        "loss that takes the prior out itself: balanced_softmax, logit_adjusted, bfs).",
    )
    loss: Loss = Field(default=CrossEntropy(), description="Loss of crt; bwlm has its own.")
    bfs: Bfs = Field(default=BFS, description="The loss of bwlm.")
    ncm_features: Literal["cl2n", "l2n", "none"] = Field(
        default="cl2n", description="Centre and L2-normalise, L2-normalise, or leave features."
    )
    ncm_distance: Literal["euclidean", "cosine"] = Field(
        default="euclidean", description="Distance to the class means."
    )
    adjustment_tau: float | None = Field(
        default=None,
        ge=0.0,
        description="Strength of logit_adjustment; default: chosen on val from 0, 0.1, .. 2.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of weights and sampling.")

    @field_validator("loss")
    @classmethod
    def _loss_fits_a_linear_head(cls, loss: LossSection) -> LossSection:
        if loss.name == "ldam":
            raise ValueError("ldam needs a cosine head; stage 2 trains linear ones")
        return loss

    @model_validator(mode="after")
    def _nothing_is_left_unused(self) -> "ClassifyConfig":
        if self.loss != CrossEntropy() and self.method not in ("crt", "sweep"):
            raise ValueError(
                f"loss: {self.loss.name} is of crt and has no meaning with method: {self.method}; "
                "leave it out, or set method: crt"
            )
        if self.bfs != BFS and self.method not in ("bwlm", "sweep"):
            raise ValueError(
                f"bfs: {self.bfs.settings()} is of bwlm and has no meaning with method: "
                f"{self.method}; leave it out, or set method: bwlm"
            )
        if self.sampler is not None and self.method in ("ncm", "logit_adjustment"):
            raise ValueError(
                f"sampler: {self.sampler} has no meaning with method: {self.method}, which trains "
                "nothing; leave it out, or use another method"
            )
        where = f"with method: {self.method}"
        if self.method not in ("logit_adjustment", "sweep"):
            refuse_unused(self, "adjustment_tau", where=where)
        if self.method not in ("ncm", "sweep"):
            refuse_unused(self, "ncm_features", "ncm_distance", where=where)
        return self


class TauNormConfig(Section):
    """Post-hoc tau-normalisation, chosen on val."""

    max_tau: float = Field(default=2.0, gt=0.0, description="End of the grid that starts at 0.")
    steps: int = Field(default=21, ge=2, description="Values on the grid, both ends included.")
    stage1_tau: float | None = Field(
        default=None,
        ge=0.0,
        description="Tau of the stage-1 head, e.g. from `longtail search`; default: chosen on val.",
    )
    select_by: Literal["balanced_accuracy", "accuracy"] = Field(
        default="balanced_accuracy", description="Val metric that chooses tau and the head."
    )
    apply_to: list[Literal["stage1", "stage2"]] | None = Field(
        default=None, description="Heads to normalise; default: those that are linear."
    )
    reject_to: str | None = Field(
        default=None,
        description="Name of a class without training images; uncertain images are assigned to it.",
    )
    false_rejections: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.05,
        description="Share of val to reject if val has no images of that class; if it has, the "
        "threshold with the best balanced accuracy on val is used.",
    )
    temperature: bool = Field(
        default=False, description="Calibrate every variant by a temperature fitted on val."
    )

    @model_validator(mode="after")
    def _nothing_is_left_unused(self) -> "TauNormConfig":
        if self.stage1_tau is not None and "stage1" not in (self.apply_to or ["stage1"]):
            raise ValueError(
                f"stage1_tau: {self.stage1_tau} has no meaning without stage1 in apply_to; add it "
                "there, or leave stage1_tau out"
            )
        if self.reject_to is None:
            refuse_unused(self, "false_rejections", where="without reject_to")
        return self
