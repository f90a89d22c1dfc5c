"""Where images come from."""

from typing import Annotated, Literal

from pydantic import Field

from longtail.config.section import Count, Section


class DigitsSource(Section):
    """scikit-learn's 1,797 handwritten digits, 8x8 grey, 10 classes; needs no network."""

    kind: Literal["digits"] = "digits"


class TorchvisionSource(Section):
    """A torchvision data set; downloaded if it is not in the root and there is a network."""

    kind: Literal["torchvision"]
    name: Literal["cifar10", "cifar100", "caltech101", "fashion_mnist"] = Field(
        description="Which data set."
    )
    root: str = Field(
        default="data/torchvision", description="Local directory that torchvision uses."
    )


class FolderSource(Section):
    """One directory per class, or `super/sub/` directories when `levels` is 2."""

    kind: Literal["folder"]
    root: str = Field(description="Local directory or s3://bucket/prefix.")
    levels: Literal[1, 2] = Field(default=1, description="2: classes are inside super-classes.")


class ParquetSource(Section):
    """Encoded image bytes and labels in Parquet files (the Hugging Face layout)."""

    kind: Literal["parquet"]
    root: str = Field(description="Local directory or s3://bucket/prefix that holds the files.")
    files: dict[Literal["train", "val", "test", "all"], str] = Field(
        default={"all": "*.parquet"},
        description="Source split -> glob under the root; `all` if the source has no splits.",
    )
    image_column: str = Field(default="image", description="Bytes, or a struct with `bytes`.")
    label_column: str = Field(default="label", description="Integer or string labels.")
    super_label_column: str | None = Field(default=None, description="Coarser labels, if any.")
    classes_file: str | None = Field(
        default=None, description="JSON under the root: label column -> list of class names."
    )


class ListingSource(Section):
    """A CSV or Parquet table of image paths and labels; the images are beside it or in a bucket."""

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
        default=None, description="Text file with one class name per line, relative to the root."
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
