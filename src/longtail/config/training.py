"""Stage 1, stage 2 and what follows them without training."""

from typing import Literal

from pydantic import Field, model_validator

from longtail.config.section import Count, Section


class AugmentConfig(Section):
    """Training augmentation, vectorised over the batch unless `auto` is set."""

    crop_padding: int = Field(default=4, ge=0, description="Zero-padding of the random crop.")
    horizontal_flip: bool = Field(default=True, description="Flip with probability 1/2.")
    auto: str | None = Field(
        default=None,
        description="timm policy, e.g. `rand-m9-mstd0.5` or `original`; works image by image.",
    )
    mixup_alpha: float = Field(default=0.0, ge=0.0, description="Beta parameter; 0: no mixup.")


class RepresentConfig(Section):
    """Stage 1: the backbone and its first classifier."""

    backbone: str = Field(
        default="cifar_resnet32", description="`cifar_resnet32`, or any timm model name."
    )
    pretrained: str | None = Field(
        default=None, description="`hub`, or a local safetensors file; default: random weights."
    )
    image_size: int = Field(default=32, ge=8, description="Side of the square input in pixels.")
    mean: tuple[float, float, float] = Field(
        default=(0.4914, 0.4822, 0.4465), description="Channel means, RGB in 0..1."
    )
    std: tuple[float, float, float] = Field(
        default=(0.2023, 0.1994, 0.2010), description="Channel standard deviations."
    )
    loss: Literal["cross_entropy", "balanced_softmax", "ldam"] = Field(
        default="cross_entropy", description="Stage-1 loss; `ldam` has a cosine head."
    )
    drw_start: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="Deferred re-weighting from this share of the epochs on (0.8 in LDAM-DRW).",
    )
    sampler: Literal["instance", "class_balanced", "square_root", "progressive"] = Field(
        default="instance", description="How training images are drawn."
    )
    epochs: Count = Field(default=200, description="Passes over the training set.")
    batch_size: int = Field(default=128, ge=2, description="Images a step, over all processes.")
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="SGD has momentum 0.9.")
    learning_rate: float = Field(default=0.1, gt=0.0, description="Base rate.")
    weight_decay: float = Field(default=2e-4, ge=0.0, description="L2 penalty.")
    decay_norms_and_biases: bool = Field(
        default=True, description="False: no decay on tensors of one dimension."
    )
    schedule: Literal["step", "cosine"] = Field(
        default="step", description="x0.01 at 80 % and x0.0001 at 90 %; or cosine, step by step."
    )
    warmup_epochs: int = Field(default=5, ge=0, description="Linear warm-up.")
    min_lr_ratio: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="Where the cosine ends, relative to its start."
    )
    ema_decay: float | None = Field(
        default=None, gt=0.0, lt=1.0, description="Average of weights over steps; default: none."
    )
    augment: AugmentConfig = Field(default=AugmentConfig(), description="Augmentation.")
    early_stopping: int | None = Field(
        default=None, ge=1, description="Stop after so many epochs without a better val score."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="auto: bf16 autocast where the hardware multiplies in bf16."
    )
    compile: bool = Field(default=False, description="torch.compile the model.")
    resident_gigabytes: float = Field(
        default=4.0, ge=0.0, description="Decoded images are kept in memory up to this size."
    )
    seed: int = Field(default=0, ge=0, description="Seed of weights, batches and augmentation.")

    @model_validator(mode="after")
    def _warmup_is_shorter_than_training(self) -> "RepresentConfig":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs} must be below epochs {self.epochs}"
            )
        return self


class EmbedConfig(Section):
    """Features of the frozen backbone, computed once."""

    train_views: int = Field(
        default=1, ge=1, description="1: the plain image; more: augmented views beside it."
    )
    batch_size: Count = Field(default=512, description="Images a forward pass.")
    seed: int = Field(default=0, ge=0, description="Seed of the augmented views.")


class ClassifyConfig(Section):
    """Stage 2: a balanced classifier on the cached features."""

    method: Literal["crt", "lws", "ncm"] = Field(
        default="crt", description="Re-train the classifier, learn its scales, or class means."
    )
    epochs: Count = Field(default=10, description="Passes over the features (crt, lws).")
    batch_size: Count = Field(default=128, description="Features a step.")
    learning_rate: float = Field(default=0.1, gt=0.0, description="Start of the cosine.")
    weight_decay: float = Field(default=5e-4, ge=0.0, description="L2 penalty (crt).")
    ncm_features: Literal["cl2n", "l2n", "none"] = Field(
        default="cl2n", description="Centre and L2-normalise, L2-normalise, or leave features."
    )
    ncm_distance: Literal["euclidean", "cosine"] = Field(
        default="euclidean", description="Distance to the class means."
    )
    seed: int = Field(default=0, ge=0, description="Seed of weights and sampling.")


class TauNormConfig(Section):
    """Post-hoc tau-normalisation, chosen on val."""

    max_tau: float = Field(default=2.0, gt=0.0, description="End of the grid that starts at 0.")
    steps: int = Field(default=21, ge=2, description="Values on the grid, both ends included.")
    select_by: Literal["balanced_accuracy", "accuracy"] = Field(
        default="balanced_accuracy", description="Val metric that chooses tau and the head."
    )
