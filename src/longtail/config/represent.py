"""Stage 1: the backbone and its first classifier."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from longtail.config.augment import AugmentConfig
from longtail.config.losses import (
    COUNTING_LOSSES,
    SIGMOID_LOSSES,
    CrossEntropy,
    Ldam,
    Loss,
    Reweighting,
)
from longtail.config.samplers import Sampler
from longtail.config.section import (
    Count,
    NotNegative,
    Positive,
    Section,
    Share,
    refuse_unused,
)


class HierarchyConfig(Section):
    """Two heads, of classes and super-classes, each with a hidden layer of its own."""

    hidden: Count = Field(default=512, description="Units of each hidden layer.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.5, description="Dropout of the hidden layers."
    )
    super_weight: NotNegative = Field(default=1.0, description="Weight of the super-class loss.")
    sub_weight: Positive = Field(default=1.0, description="Weight of the class loss.")
    class_weights: Literal["balanced", "none"] = Field(
        default="none",
        description="`balanced`: scikit-learn's, on both levels; absent classes get the mean.",
    )


class RepresentConfig(Section):
    """Stage 1: the backbone and its first classifier."""

    backbone: str = Field(
        default="cifar_resnet32",
        description="`cifar_resnet32`, `cifar_resnet32_nf64`, or any timm model name.",
    )
    pretrained: str | None = Field(
        default=None, description="`hub`, or a local safetensors file; default: random weights."
    )
    frozen_groups: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        default=0,
        description="Number of layer groups (stem, stages), from the input on, that do not train.",
    )
    unfreeze_every: int | None = Field(
        default=None,
        ge=1,
        description="Epochs until the last frozen group joins the training; then until the next.",
    )
    head: Literal["linear", "cosine"] | None = Field(
        default=None, description="Default: cosine with the loss `ldam`, else linear."
    )
    cosine_scale: Positive = Field(
        default=30.0,
        description="Factor of the cosines of a cosine head (with `ldam`: loss.scale).",
    )
    image_size: int = Field(default=32, ge=8, description="Side of the square input in pixels.")
    mean: tuple[NotNegative, NotNegative, NotNegative] = Field(
        default=(0.4914, 0.4822, 0.4465), description="Channel means, RGB in 0..1."
    )
    std: tuple[Positive, Positive, Positive] = Field(
        default=(0.2023, 0.1994, 0.2010),
        description="Channel standard deviations, RGB in 0..1.",
    )
    loss: Loss = Field(default=CrossEntropy(), description="Stage-1 loss; a name, or its section.")
    reweighting: Reweighting | None = Field(
        default=None, description="Class weights on the loss, from the start or deferred (DRW)."
    )
    sampler: Sampler = Field(default="instance", description="How training images are drawn.")
    deferred_sampler: Sampler | None = Field(
        default=None, description="Takes over from `sampler` at `deferred_start` (DRS)."
    )
    deferred_start: Share = Field(
        default=0.8,
        description="Share of the epochs after which `deferred_sampler` draws, at the latest in "
        "the last epoch.",
    )
    hierarchy: HierarchyConfig | None = Field(
        default=None, description="Learn super-classes beside the classes, by cross-entropy."
    )
    absent_classes: Literal["refuse", "mask", "novel"] = Field(
        default="refuse",
        description="Classes without training images: `refuse`: an error; `mask`: left out and "
        "never predicted; `novel`: for images of no other class, see tau_norm.reject_to.",
    )
    epochs: Count = Field(default=200, description="Passes over the training set.")
    batch_size: int = Field(default=128, ge=2, description="Images per step, over all processes.")
    optimizer: Literal["sgd", "adam", "adamw"] = Field(
        default="sgd", description="SGD has momentum 0.9."
    )
    sam_rho: Positive | None = Field(
        default=None, description="Sharpness-aware minimisation: radius of its ascent, e.g. 0.05."
    )
    learning_rate: float = Field(default=0.1, gt=0.0, description="Base rate.")
    weight_decay: float = Field(default=2e-4, ge=0.0, description="L2 penalty.")
    decay_norms_and_biases: bool = Field(
        default=True, description="False: no decay on tensors of one dimension."
    )
    schedule: Literal["step", "cosine"] = Field(
        default="step", description="`step` follows `milestones`; `cosine` falls in every step."
    )
    milestones: list[tuple[Share, Positive]] = Field(
        default=[(0.8, 0.01), (0.9, 0.0001)],
        description="Pairs: share of the steps, factor of the base rate from there on; in order.",
    )
    warmup_epochs: int = Field(default=5, ge=0, description="Epochs of linear warm-up.")
    min_lr_ratio: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="Where the cosine ends, relative to its start."
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0.0,
        lt=1.0,
        description="Decay of a moving average of the weights, with warm-up; default: none.",
    )
    augment: AugmentConfig = Field(default=AugmentConfig(), description="Augmentation.")
    shifted_bn: bool = Field(
        default=False,
        description="Take BatchNorm's statistics from class-balanced images after training.",
    )
    early_stopping: int | None = Field(
        default=None, ge=1, description="Stop after this many epochs without a better val score."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="auto: bf16 autocast on GPUs and CPUs that multiply matrices in bf16.",
    )
    compile: bool = Field(default=False, description="torch.compile the model; takes a compiler.")
    resident_gigabytes: float = Field(
        default=4.0,
        ge=0.0,
        description="Memory for decoded images, first of train, then of val: on each GPU, or on a "
        "machine for all its processes. Images that do not fit are decoded in every epoch.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of weights, batches and augmentation.")

    @field_validator("mean", "std")
    @classmethod
    def _channels_are_shares(cls, channels: tuple[float, ...]) -> tuple[float, ...]:
        if max(channels) > 1:
            raise ValueError("channels are in 0..1 here; divide values for 0..255 by 255")
        return channels

    @property
    def departures(self) -> list[str]:
        """Keys of what makes it differ from plain cross-entropy on images as they come."""
        smoothed = isinstance(self.loss, CrossEntropy) and self.loss.smoothing > 0
        departs = {
            f"loss: {self.loss.name}": self.loss.name != "cross_entropy",
            "loss.smoothing": smoothed,
        }
        return [key for key, does in departs.items() if does] + self._balances

    @property
    def _balances(self) -> list[str]:
        """Keys of what gives images of rare classes more weight, apart from the loss."""
        scheme = self.reweighting.scheme if self.reweighting else None
        weighted = self.hierarchy is not None and self.hierarchy.class_weights == "balanced"
        balances = {
            f"sampler: {self.sampler}": self.sampler != "instance",
            f"deferred_sampler: {self.deferred_sampler}": self.deferred_sampler is not None,
            f"reweighting: {scheme}": scheme is not None,
            "hierarchy.class_weights: balanced": weighted,
        }
        return [key for key, does in balances.items() if does]

    @property
    def keeps_prior(self) -> bool:
        """Whether its p(y | x) contains p(y) of the training images."""
        return not self.departures

    @property
    def follows_counts(self) -> bool:
        """Whether its p(y | x) contains p(y) of the training images at least roughly."""
        return self.loss.name in COUNTING_LOSSES and not self._balances

    @property
    def head_kind(self) -> Literal["linear", "cosine"]:
        """The head that trains: the one asked for, or the one the loss needs."""
        return self.head or ("cosine" if self.loss.name == "ldam" else "linear")

    @property
    def head_scale(self) -> float:
        """What a head multiplies its cosines by; 1 for a linear head."""
        if isinstance(self.loss, Ldam):
            return self.loss.scale
        return self.cosine_scale if self.head_kind == "cosine" else 1.0

    @model_validator(mode="after")
    def _parameters_fit_together(self) -> "RepresentConfig":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs} must be below epochs {self.epochs}"
            )
        if self.loss.name == "ldam" and self.head == "linear":
            raise ValueError(
                "head: linear cannot go with loss: ldam, whose margins are between cosines; leave "
                "head out or set it to cosine"
            )
        if self.head_kind == "cosine" and self.loss.name in SIGMOID_LOSSES:
            raise ValueError(
                f"head: cosine cannot go with loss: {self.loss.name}, whose sigmoids need a bias; "
                "set head: linear"
            )
        if self.hierarchy and (self.loss.name != "cross_entropy" or self.head == "cosine"):
            raise ValueError(
                "hierarchy has two linear heads with cross-entropy; leave loss and head out"
            )
        if self.hierarchy and self.reweighting:
            raise ValueError("hierarchy weighs both levels itself: set hierarchy.class_weights")
        shares = [share for share, _ in self.milestones]
        if shares != sorted(shares):
            raise ValueError(f"milestones come in the order of their shares, not {shares}")
        return self

    @model_validator(mode="after")
    def _nothing_is_left_unused(self) -> "RepresentConfig":
        if self.unfreeze_every and self.frozen_groups == 0:
            raise ValueError("unfreeze_every has no meaning with frozen_groups: 0")
        if self.deferred_sampler is None:
            refuse_unused(self, "deferred_start", where="without deferred_sampler")
        if self.head_kind == "linear":
            refuse_unused(self, "cosine_scale", where="with a linear head")
        if self.loss.name == "ldam":
            refuse_unused(self, "cosine_scale", where="with loss: ldam, which has loss.scale")
        return self
