"""A study: a grid of parameters over one flow, run cell by cell."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from longtail.config.section import Section, nearest, require_plain

Overrides = dict[str, Any]
VARIANTS = (
    *("stage1", "stage1_tau", "stage2", "stage2_tau"),
    # the heads of a sweep
    *("crt", "lws", "bwlm", "max_norm", "logit_adjustment"),
    *("ncm_cl2n", "ncm_cl2n_cosine", "ncm_l2n", "ncm_none", "ncm_none_cosine"),
)
SEEDED = frozenset({"represent.seed", "embed.seed", "classify.seed"})
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class StudyConfig(Section):
    """A study file: dotted parameters on top of a parameter file, for every cell and by axis."""

    base: Path = Field(description="Parameter file that every cell starts from.")
    set: Overrides = Field(
        default={}, description="Dotted parameter -> value, for every cell: {represent.epochs: 20}."
    )
    axes: dict[str, dict[str, Overrides]] = Field(
        description="Axis -> its values by name -> dotted parameters: {loss: {ce: {}, ...}}."
    )
    seeds: Seeds = Field(default=[0], description="Seeds of both stages; each cell runs per seed.")
    variants: list[str] | None = Field(
        default=None, description="Rows of the report: stage1, crt, ...; default: all."
    )
    reference: dict[str, str] | None = Field(
        default=None,
        description="Axis -> value that the others are compared with, all else equal; default: the "
        "first value of the first axis.",
    )
    published: dict[str, str] = Field(
        default={}, description="Row -> key of the table of published numbers."
    )

    @field_validator("axes")
    @classmethod
    def _axes_have_values(cls, axes: dict[str, Any]) -> dict[str, Any]:
        for name, values in axes.items():
            require_plain("an axis", name)
            if not values:
                raise ValueError(f"the axis {name} has no values; name one, or leave the axis out")
        return axes

    @field_validator("variants")
    @classmethod
    def _variants_are_known(cls, variants: list[str] | None) -> list[str] | None:
        for name in variants or []:
            if name not in VARIANTS:
                raise ValueError(f"no variant is called {name}{nearest(name, list(VARIANTS))}")
        if len(set(variants or [])) < len(variants or []):
            raise ValueError(f"variants {variants} name one twice; leave one out")
        return variants

    @model_validator(mode="after")
    def _nothing_is_set_twice(self) -> "StudyConfig":
        owner: dict[str, str] = {}
        for axis, values in self.axes.items():
            for key in sorted({key for overrides in values.values() for key in overrides}):
                if owner.setdefault(key, axis) != axis:
                    raise ValueError(f"the axes {owner[key]} and {axis} both set {key}")
                for inner, other in owner.items():
                    if other != axis and inner.startswith(f"{key}."):
                        raise ValueError(
                            f"the axis {axis} sets all of {key}, and with it what the axis {other} "
                            f"sets, {inner}; name {axis} before {other}"
                        )
        for key in SEEDED.intersection([*owner, *self.set]):
            raise ValueError(f"{key} is set by `seeds`; name the seeds there")
        for axis, name in (self.reference or {}).items():
            if name not in self.axes.get(axis, {}):
                raise ValueError(f"reference: no axis {axis} has a value {name}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} name one twice")
        return self
