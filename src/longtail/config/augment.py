"""How training images are changed at random."""

import re
from typing import Annotated

from pydantic import Field, field_validator

from longtail.config.section import NotNegative, Positive, Section

HueShift = Annotated[float, Field(ge=0.0, le=0.5)]
NUMBER = r"\d+(\.\d+)?"
POLICY = (  # what timm takes: it ignores some of what it does not know, and asserts the rest
    rf"cifar10|(original|originalr|v0|v0r|3a)(-mstd{NUMBER})?"
    rf"|rand(-(m|mmax|n|inc)\d+|-(mstd|p){NUMBER}|-t(weights|3aw?))*"
)


class AugmentConfig(Section):
    """Training augmentation, on the device; timm's policies work image by image on the CPU."""

    crop_padding: int = Field(default=4, ge=0, description="Black padding of the random crop.")
    horizontal_flip: bool = Field(default=True, description="Mirror with probability 1/2.")
    vertical_flip: bool = Field(default=False, description="Flip upside down with probability 1/2.")
    rotation: float = Field(default=0.0, ge=0.0, le=180.0, description="Largest angle, degrees.")
    scale: tuple[Positive, Positive] = Field(
        default=(1.0, 1.0), description="Range of the enlargement, e.g. [0.8, 1.2]."
    )
    color_jitter: tuple[NotNegative, NotNegative, NotNegative, HueShift] = Field(
        default=(0.0, 0.0, 0.0, 0.0),
        description="Largest change of brightness, contrast, saturation, hue.",
    )
    auto: str | None = Field(
        default=None,
        description="timm policy, e.g. `rand-m9-mstd0.5`, or `cifar10`, which is faster.",
    )
    cutout: int = Field(default=0, ge=0, description="Side of a greyed-out square, in pixels.")
    mixup_alpha: float = Field(default=0.0, ge=0.0, description="Beta parameter; 0: no mixup.")
    cutmix_alpha: float = Field(
        default=0.0,
        ge=0.0,
        description="Beta parameter; 0: no CutMix. With mixup, each batch gets one of them.",
    )

    @field_validator("auto")
    @classmethod
    def _policy_is_known(cls, auto: str | None) -> str | None:
        if auto is not None and not re.fullmatch(POLICY, auto):
            raise ValueError(
                f"no policy is called {auto}; use cifar10, original, originalr, v0, v0r, 3a, or a "
                "RandAugment as rand-m9-mstd0.5"
            )
        return auto

    @field_validator("scale")
    @classmethod
    def _scale_is_a_range(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError(f"the smaller scale comes first: [{scale[1]}, {scale[0]}]")
        return scale
