"""One model per step: every parameter, its default, its bounds and a sentence on what it does.

A section of `params.yaml` is one model here, one `params:` entry in `dvc.yaml`. Configuration stops
at the step: below it are flat, typed arguments.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from longtail.errors import LongtailError

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DigitsSource(Section):
    """scikit-learn's 1,797 handwritten digits, 8x8 grey, 10 classes; needs no network."""

    kind: Literal["digits"] = "digits"


class TorchvisionSource(Section):
    """A torchvision data set; downloaded if it is not in the root and there is a network."""

    kind: Literal["torchvision"]
    name: Literal["cifar10", "cifar100", "caltech101", "fashion_mnist"] = Field(
        description="Which data set."
    )
    root: str = Field(default="data/torchvision", description="Local directory torchvision uses.")


class FolderSource(Section):
    """One directory per class, or `super/sub/` directories when `levels` is 2."""

    kind: Literal["folder"]
    root: str = Field(description="Local directory or s3://bucket/prefix.")
    levels: Literal[1, 2] = Field(default=1, description="2: super-class directories above.")


class ParquetSource(Section):
    """Encoded image bytes and labels in Parquet files (the Hugging Face layout)."""

    kind: Literal["parquet"]
    root: str = Field(description="Local directory or s3://bucket/prefix that holds the files.")
    files: dict[Literal["train", "val", "test", "all"], str] = Field(
        default={"all": "*.parquet"},
        description="Source split -> glob under the root; `all`: the source has no split.",
    )
    image_column: str = Field(default="image", description="Bytes, or a struct with `bytes`.")
    label_column: str = Field(default="label", description="Integer or string labels.")
    super_label_column: str | None = Field(default=None, description="Coarser labels, if any.")
    classes_file: str | None = Field(
        default=None, description="JSON under the root: label column -> list of class names."
    )


class ListingSource(Section):
    """A CSV or Parquet table of image paths and labels, the images beside it or in a bucket."""

    kind: Literal["listing"]
    root: str = Field(description="Local directory or s3://bucket/prefix that paths start from.")
    table: str = Field(description="The table, relative to the root.")
    path_column: str = Field(default="path", description="Image path relative to the root.")
    label_column: str = Field(default="label", description="Integer or string labels.")
    super_label_column: str | None = Field(default=None, description="Coarser labels, if any.")
    split_column: str | None = Field(default=None, description="train / val / test, if any.")


class SplitListsSource(Section):
    """The official `path label` text files of ImageNet-LT, Places-LT and iNaturalist."""

    kind: Literal["split_lists"]
    root: str = Field(description="Local directory or s3://bucket/prefix that paths start from.")
    lists: dict[Literal["train", "val", "test"], str] = Field(
        description="Source split -> text file, relative to the root."
    )
    classes_file: str | None = Field(
        default=None, description="Text file with one class name a line, relative to the root."
    )


Source = Annotated[
    DigitsSource
    | TorchvisionSource
    | FolderSource
    | ParquetSource
    | ListingSource
    | SplitListsSource,
    Field(discriminator="kind"),
]


class S3Config(Section):
    """How to reach `s3://` roots; credentials come from boto3's usual places."""

    endpoint_url: str | None = Field(
        default=None, description="S3 endpoint; default: AWS_ENDPOINT_URL, else AWS itself."
    )
    region: str | None = Field(default=None, description="Region; default: boto3's own.")
    concurrency: Count = Field(default=16, description="Objects read at the same time.")
    max_attempts: Count = Field(default=5, description="Tries per request, with back-off.")


class IngestConfig(Section):
    """Where the images come from and what to do with bad ones."""

    source: Source = Field(default=DigitsSource(), description="The image collection.")
    s3: S3Config = Field(default=S3Config(), description="Used for s3:// roots only.")
    on_bad_image: Literal["stop", "quarantine"] = Field(
        default="stop", description="Stop with one error, or keep bad images out and list them."
    )
    max_pixels: int = Field(
        default=100_000_000,
        ge=1,
        le=178_956_970,
        description="Larger images are refused as decompression bombs; at most Pillow's own limit.",
    )
    shard_megabytes: Count = Field(default=64, description="Target size of one image shard.")


class ValConfig(Section):
    """Where validation images come from; never from test."""

    take_from: Literal["train", "unused", "source"] = Field(
        default="train",
        description="`train`: out of the training pool before the long-tail law is applied; "
        "`unused`: images that the law left over (a class with none left gets none); "
        "`source`: the source's own.",
    )
    per_class: int | None = Field(
        default=None, ge=1, description="Images a class (balanced); exclusive with `share`."
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
        "the same number a class; `long_tailed`: the training law from `per_class` down.",
    )
    per_class: int | None = Field(
        default=None, ge=1, description="Images a class (of the largest, if long-tailed)."
    )
    share: Share | None = Field(default=None, description="Share of each class (`as_is`).")

    @model_validator(mode="after")
    def _amount_fits_distribution(self) -> "TestConfig":
        as_is = self.distribution == "as_is"
        needed, other = ("share", "per_class") if as_is else ("per_class", "share")
        if getattr(self, other) is not None:
            raise ValueError(f"{other} has no meaning with distribution: {self.distribution}")
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
        default="exp", description="Shape of the class counts of the training set."
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
        description="Classes whose count would be 0 keep 1 image instead of an error.",
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
        description="Shuffle which class is head or tail; default: label order.",
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


class ValidateConfig(Section):
    """Rules that stop the flow, and thresholds of the warnings."""

    min_train_per_class: int = Field(default=1, ge=0, description="Fewer stop the flow.")
    min_val_per_class: int = Field(default=1, ge=0, description="Fewer stop the flow.")
    min_test_per_class: int = Field(default=1, ge=0, description="Fewer stop the flow.")
    on_cross_split_duplicates: Literal["stop", "warn"] = Field(
        default="stop",
        description="The same image in two splits (warn: the source's test forbids).",
    )
    on_conflicting_labels: Literal["stop", "warn"] = Field(
        default="warn", description="The same image under two labels."
    )
    near_duplicate_distance: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Perceptual-hash bits that near-duplicates may differ by.",
    )
    image_checks: int = Field(
        default=2000, ge=0, description="Images sampled for CleanVision and decoding; 0: none."
    )
    seed: int = Field(default=0, ge=0, description="Seed of that sample.")


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


class EvaluateConfig(Section):
    """What the report computes."""

    confidence: float = Field(default=0.95, gt=0.0, lt=1.0, description="Level of the intervals.")
    calibration_bins: Count = Field(default=15, description="Bins of the calibration error.")
    batch_size: Count = Field(default=512, description="Images a forward pass.")
    published: list[str] = Field(
        default=[], description="Rows printed beside ours: keys of the table of published numbers."
    )


class GateConfig(Section):
    """Thresholds of promotion; a bound that is null is not checked."""

    min_balanced_accuracy: Probability | None = Field(default=None, description="Floor.")
    min_group_accuracy: dict[str, Probability] = Field(
        default={}, description="Floor a group, e.g. {few: 0.2}."
    )
    max_calibration_error: Probability | None = Field(default=None, description="Ceiling of ECE.")
    min_gain: float = Field(
        default=0.0, description="Balanced-accuracy gain over the champion must be above this."
    )
    max_group_loss: dict[str, Probability] = Field(
        default={}, description="A group may lose at most this against the champion."
    )
    without_champion: Literal["promote", "hold"] = Field(
        default="hold", description="Outcome if all floors hold and there is no champion yet."
    )


class RegisterConfig(Section):
    """Where models and metrics go."""

    tracking_uri: str = Field(default="sqlite:///mlflow.db", description="MLflow tracking URI.")
    experiment: str = Field(default="longtail", description="MLflow experiment.")
    model_name: str = Field(default="longtail", description="Registered model.")


SECTIONS: dict[str, type[Section]] = {
    "ingest": IngestConfig,
    "split": SplitConfig,
    "validate": ValidateConfig,
    "represent": RepresentConfig,
    "embed": EmbedConfig,
    "classify": ClassifyConfig,
    "tau_norm": TauNormConfig,
    "evaluate": EvaluateConfig,
    "gate": GateConfig,
    "register": RegisterConfig,
}


def parse(model: type[S], values: dict[str, Any], *, where: str) -> S:
    """Build a section from plain values; all problems in one error, each with its path."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, problem) for problem in error.errors()]
        raise LongtailError(f"{where}:\n  " + "\n  ".join(lines)) from None


def load_section(params: Path, name: str, model: type[S]) -> S:
    """Read one section of a parameter file; a missing section means all defaults."""
    if not params.is_file():
        raise LongtailError(f"{params} does not exist; give the parameter file with --params")
    try:
        content = yaml.safe_load(params.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise LongtailError(f"{params} is not valid YAML: {error}") from None
    for unknown in sorted(set(content) - set(SECTIONS)):
        raise LongtailError(
            f"{params}: unknown section `{unknown}`{_nearest(unknown, list(SECTIONS))}"
        )
    return parse(model, content.get(name) or {}, where=f"{params}, section `{name}`")


def _explain(model: type[Section], problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_beside(model, problem["loc"])
        return f"unknown key `{place}`{_nearest(str(problem['loc'][-1]), known)}"
    return f"`{place}` is {problem['input']!r}: {problem['msg']}"


def _fields_beside(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that stand where `location` points; union tags are steps in it too."""
    candidates: list[type[Section]] = [model]
    for part in location[:-1]:
        deeper = [
            inner
            for candidate in candidates
            if part in candidate.model_fields
            for inner in _sections_in(candidate.model_fields[str(part)].annotation)
        ]
        tagged = [c for c in candidates if _tag(c) == part]
        candidates = deeper or tagged or candidates
    return sorted({name for candidate in candidates for name in candidate.model_fields})


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [s for argument in get_args(annotation) for s in _sections_in(argument)]


def _tag(section: type[Section]) -> str | None:
    kind = section.model_fields.get("kind")
    return get_args(kind.annotation)[0] if kind else None


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(known)}"
