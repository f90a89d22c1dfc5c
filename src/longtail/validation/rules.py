"""Every rule of validation, by the table that it is about."""

from collections.abc import Mapping

from longtail.validation.images import ISSUES, TYPICAL_SHARE
from longtail.validation.rule import Level, Rule, between, equal, in_set, unique

_INGEST_AGAIN = "run `longtail ingest` and `longtail split` again"
_SPLIT_AGAIN = "run `longtail split` again on these images"


def schema_rules() -> list[Rule]:
    """Rules on the files themselves: while one of these fails, no other rule can be judged."""
    return [
        equal(
            "schema",
            "schema",
            ("expected", "found"),
            bound="columns and types of the tables and keys of the profile are as documented",
            fix=f"{_INGEST_AGAIN}; the formats are in longtail/artifacts",
            show=("file", "field"),
        )
    ]


def storage_rules() -> list[Rule]:
    """The files belong together."""
    return [
        equal(
            "manifest_digest",
            "provenance",
            ("profile_says", "found"),
            bound="the split was made from this manifest (SHA-256)",
            fix=_SPLIT_AGAIN,
            show=("file",),
        ),
        equal(
            "shards_complete",
            "shards",
            ("expected", "found"),
            bound="every shard has the rows that the manifest names",
            fix=_INGEST_AGAIN,
            show=("shard",),
        ),
    ]


def manifest_rules(*, num_classes: int) -> list[Rule]:
    """One row per image."""
    return [
        unique(
            "manifest_index_unique",
            "manifest",
            "index",
            bound="no index occurs twice in the manifest",
            fix=_INGEST_AGAIN,
            show=("index", "source_path"),
        ),
        between(
            "manifest_labels",
            "manifest",
            "label",
            low=0,
            high=num_classes - 1,
            bound=f"labels are 0 to {num_classes - 1}, the positions in the class list",
            fix=_INGEST_AGAIN,
            show=("index", "source_path"),
        ),
        equal(
            "manifest_class_names",
            "manifest",
            ("class_name", "listed_name"),
            bound="the class name is the one that the class list has for the label",
            fix=_INGEST_AGAIN,
            show=("index", "label"),
        ),
    ]


def split_rules(*, num_classes: int) -> list[Rule]:
    """One row per image of train, val and test."""
    return [
        between(
            "split_labels",
            "splits",
            "label",
            low=0,
            high=num_classes - 1,
            bound=f"labels are 0 to {num_classes - 1}, the positions in the class list",
            fix=_SPLIT_AGAIN,
            show=("split", "index"),
        ),
        in_set(
            "split_rows_in_manifest",
            "splits",
            "difference",
            ["none"],
            bound="index, id, shard, row and label of every split row are as in the manifest",
            fix=_SPLIT_AGAIN,
            show=("split", "index"),
        ),
        in_set(
            "index_in_one_split",
            "splits",
            "also_in",
            ["none"],
            bound="no image stands in two splits, or twice in one",
            fix=_SPLIT_AGAIN,
            show=("index", "split"),
        ),
    ]


def class_rules(minima: Mapping[str, int]) -> list[Rule]:
    """One row per class; `minima` are the fewest images a class by split."""
    return [
        equal(
            "class_list",
            "classes",
            ("name", "profile_name"),
            bound="the profile has the classes of the class list, in its order",
            fix=_SPLIT_AGAIN,
            show=("label",),
        ),
        equal(
            "profile_counts",
            "classes",
            ("counts", "profile_counts"),
            bound="train / val / test images of a class are as many as the profile says",
            fix=_SPLIT_AGAIN,
            show=("name",),
        ),
        equal(
            "counts_follow_law",
            "classes",
            ("train", "planned"),
            bound="training images of a class are as many as the requested law plans",
            fix=f"{_SPLIT_AGAIN}; do not edit its tables",
            show=("name",),
        ),
        *[
            between(
                f"min_{split}_per_class",
                "classes",
                split,
                low=minimum,
                bound=f"at least {minimum} {split} images of every class",
                fix=f"give these classes more images, change what `split` takes for {split}, "
                f"or lower validate.min_{split}_per_class",
                show=("name", "group"),
            )
            for split, minimum in minima.items()
        ],
    ]


def duplicate_rules(*, across: Level, conflicting: Level) -> list[Rule]:
    """One row per image that occurs more than once."""
    return [
        between(
            "exact_duplicates",
            "duplicates",
            "copies",
            high=1,
            level="warning",
            bound="no two images of the manifest have the same bytes",
            fix="remove the copies from the source; `split` keeps copies on one side",
            show=("id", "indices", "classes"),
        ),
        between(
            "conflicting_labels",
            "duplicates",
            "labels",
            high=1,
            level=conflicting,
            bound="images with the same bytes have the same label",
            fix="correct the labels in the source, or set validate.on_conflicting_labels: warn",
            show=("id", "indices", "classes"),
        ),
        between(
            "id_in_one_split",
            "duplicates",
            "splits",
            high=1,
            level=across,
            bound="images with the same bytes stand in one split",
            fix="remove the copies from the source's training images; if the published test set "
            "forbids that, set validate.on_cross_split_duplicates: warn",
            show=("id", "indices", "in_splits"),
        ),
    ]


def near_duplicate_rules(*, distance: int) -> list[Rule]:
    """One row per pair of images with similar hashes in two splits."""
    return [
        between(
            "near_duplicates",
            "near_duplicates",
            "distance",
            low=distance + 1,
            level="warning",
            bound=f"perceptual hashes of different images in two splits differ by more than "
            f"{distance} of 64 bits",
            fix="look at these pairs; remove the training image if both show the same thing",
            show=("index", "split", "class_name", "near_index", "near_split", "near_class_name"),
        ),
    ]


def image_rules() -> list[Rule]:
    """One row per image of the sample."""
    shown = ("index", "split", "class_name", "source_path")
    return [
        in_set(
            "images_decode",
            "sample",
            "decodes",
            ["yes"],
            bound="every image of the sample decodes",
            fix=f"repair or remove these images, then {_INGEST_AGAIN}",
            show=shown,
        ),
        in_set(
            "bytes_match_ids",
            "sample",
            "bytes_match_id",
            [True],
            bound="the stored bytes of the sample have the SHA-256 that is their id",
            fix=f"the shards are damaged: {_INGEST_AGAIN}",
            show=shown,
        ),
        *[
            in_set(
                f"quality_{issue}",
                "sample",
                issue,
                [False],
                level="warning",
                bound=f"no {issue.replace('_', ' ')} image in the sample, unless "
                f"{TYPICAL_SHARE:.0%} of it or more are (CleanVision)",
                fix="look at these images; remove them from the source if they show nothing",
                show=shown,
            )
            for issue in ISSUES
        ],
    ]
