"""Which images are for training, validation and test, and the rules that they must keep."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from longtail.config.section import Section, Share, refuse_unused, require_plain


class ValConfig(Section):
    """Where validation images come from; never from test."""

    take_from: Literal["train", "unused", "source"] = Field(
        default="train",
        description="`train`: out of the training pool before the long-tail law is applied; "
        "`unused`: images that the law left over (a class with none left gets none); "
        "`source`: the source's own.",
    )
    per_class: int | None = Field(
        default=None, ge=1, description="Images per class (balanced); exclusive with `share`."
    )
    share: Share | None = Field(
        default=None, description="Share of each class of the pool; exclusive with `per_class`."
    )

    @model_validator(mode="after")
    def _one_amount(self) -> "ValConfig":
        given = (self.per_class is not None) + (self.share is not None)
        if given > 1 or (given == 0 and self.take_from != "source"):
            raise ValueError(
                f"val needs one of per_class (is {self.per_class}) and share (is {self.share}); "
                "only take_from: source may leave out both"
            )
        return self


class TestConfig(Section):
    """Where test images come from."""

    __test__ = False

    take_from: Literal["pool", "source"] = Field(
        default="pool", description="`pool`: held out of all images; `source`: the source's own."
    )
    distribution: Literal["as_is", "balanced", "long_tailed"] = Field(
        default="balanced",
        description="`as_is`: a stratified share, or all of the source's test images; `balanced`: "
        "the same number per class; `long_tailed`: the training law from `per_class` down.",
    )
    per_class: int | None = Field(
        default=None, ge=1, description="Images per class (of the largest class, if long-tailed)."
    )
    share: Share | None = Field(default=None, description="Share of each class (`as_is`).")

    @model_validator(mode="after")
    def _amount_fits_distribution(self) -> "TestConfig":
        as_is = self.distribution == "as_is"
        needed, other = ("share", "per_class") if as_is else ("per_class", "share")
        refuse_unused(self, other, where=f"with distribution: {self.distribution}")
        optional = self.take_from == "source" and self.distribution != "long_tailed"
        if getattr(self, needed) is None and not optional:
            raise ValueError(
                f"set {needed}: take_from: {self.take_from} with distribution: "
                f"{self.distribution} needs it"
            )
        return self


class GroupsConfig(Section):
    """How classes are grouped by their number of training images."""

    scheme: Literal["many_medium_few", "thirds", "edges"] = Field(
        default="many_medium_few",
        description="> 100 / 20..100 / < 20 images; equal thirds of the classes; or `edges`.",
    )
    edges: dict[str, int] = Field(
        default={},
        description="Scheme `edges`: group name -> smallest count, e.g. {large: 133, small: 0}.",
    )

    @field_validator("edges")
    @classmethod
    def _names_are_not_those_of_metrics(cls, edges: dict[str, int]) -> dict[str, int]:
        taken = {"all", "accuracy", "balanced_accuracy", "calibration_error"} & edges.keys()
        if taken:
            raise ValueError(f"a group cannot be called {min(taken)}: reports use that name")
        for name in edges:
            require_plain("a group", name)
        return edges

    @model_validator(mode="after")
    def _edges_cover_every_count(self) -> "GroupsConfig":
        if self.scheme != "edges":
            if self.edges:
                raise ValueError(f"edges have no meaning with scheme: {self.scheme}")
        elif min(self.edges.values(), default=1) != 0:
            raise ValueError("one of the edges must be 0 and none less, so that all counts belong")
        elif len(set(self.edges.values())) < len(self.edges):
            raise ValueError("two edges are equal, so that one of the groups is empty")
        return self


class SplitConfig(Section):
    """Which images are for training, validation and test, and how long the tail is."""

    law: Literal["exp", "step", "pareto", "natural", "given"] = Field(
        default="exp", description="How the class counts of the training set fall."
    )
    imbalance_factor: float = Field(
        default=100.0, ge=1.0, description="Largest over smallest class count (exp, step, pareto)."
    )
    max_per_class: int | None = Field(
        default=None, ge=1, description="n_max of the law; default: what the smallest class allows."
    )
    pareto_alpha: float = Field(
        default=6.0, gt=0.0, description="Lomax shape of `pareto`; 6 fits ImageNet-LT."
    )
    lift_to_one: bool = Field(
        default=False,
        description="Classes whose count would be 0 keep 1 image; false: that is an error.",
    )
    selection: Literal["cao", "hashed"] = Field(
        default="hashed",
        description="`cao`: the field's standard CIFAR subset (legacy generator, file order); "
        "`hashed`: by a seeded hash of the image id, independent of file order.",
    )
    class_order_seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="Seed that shuffles which class is head or tail; default: label order.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the selection.")
    val: ValConfig = Field(default=ValConfig(share=0.15), description="The validation split.")
    test: TestConfig = Field(
        default=TestConfig(distribution="as_is", share=0.15), description="The test split."
    )
    groups: GroupsConfig = Field(default=GroupsConfig(), description="Groups for the metrics.")

    @model_validator(mode="after")
    def _long_tailed_test_has_a_law(self) -> "SplitConfig":
        if self.test.distribution == "long_tailed" and self.law in ("natural", "given"):
            raise ValueError(f"test.distribution: long_tailed needs a law, but law is {self.law}")
        return self

    @model_validator(mode="after")
    def _nothing_is_left_unused(self) -> "SplitConfig":
        where = f"with law: {self.law}"
        if self.law in ("natural", "given"):
            shaping = ("imbalance_factor", "max_per_class", "lift_to_one", "class_order_seed")
            refuse_unused(self, *shaping, where=where)
        if self.law != "pareto":
            refuse_unused(self, "pareto_alpha", where=where)
        return self


class ValidateConfig(Section):
    """Rules that stop the flow, and thresholds of the warnings."""

    min_train_per_class: int = Field(default=1, ge=0, description="Fewer images stop the flow.")
    min_val_per_class: int = Field(default=1, ge=0, description="Fewer images stop the flow.")
    min_test_per_class: int = Field(default=1, ge=0, description="Fewer images stop the flow.")
    on_cross_split_duplicates: Literal["stop", "warn"] = Field(
        default="stop",
        description="If an image is in two splits; `warn` if the test split is the source's own.",
    )
    on_conflicting_labels: Literal["stop", "warn"] = Field(
        default="warn", description="If the same image has two labels."
    )
    near_duplicate_distance: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Bits by which the perceptual hashes of near-duplicates may differ.",
    )
    image_checks: int = Field(
        default=2000, ge=0, description="Images sampled for CleanVision and decoding; 0: none."
    )
    seed: int = Field(default=0, ge=0, description="Seed of that sample.")
