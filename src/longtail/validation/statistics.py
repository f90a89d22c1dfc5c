"""Numbers about the images that no rule bounds: sizes, modes and formats by group of classes."""

from typing import Any

import pandas as pd

from longtail.validation.images import ISSUES, typical_issues
from longtail.validation.tables import SPLITS

EVERYTHING = "all"


def group_statistics(
    splits: pd.DataFrame, manifest: pd.DataFrame, classes: pd.DataFrame, *, group_names: list[str]
) -> dict[str, Any]:
    """Return, for all classes and for each group, what its images in the three splits are like.

    `width`, `height` (pixels) and `bytes` are `{min, median, max}`, null for a group that has no
    images; `modes` and `formats` count images.
    """
    facts = manifest.drop_duplicates("index")[
        ["index", "width", "height", "bytes", "mode", "format"]
    ]
    rows = splits[["index", "label", "split"]].merge(facts, on="index")
    group_of = classes.set_index("label")["group"]
    rows["group"] = rows["label"].map(group_of)
    parts = {EVERYTHING: (rows, len(classes))}
    for name in group_names:
        parts[name] = (rows[rows["group"] == name], int((group_of == name).sum()))
    return {name: {"classes": size, **_describe(part)} for name, (part, size) in parts.items()}


def duplicate_statistics(duplicates: pd.DataFrame) -> dict[str, int]:
    """Return how many groups of equal images there are, and in how many ways they are trouble."""
    return {
        "groups": int((duplicates["copies"] > 1).sum()),
        "conflicting_labels": int((duplicates["labels"] > 1).sum()),
        "across_splits": int((duplicates["splits"] > 1).sum()),
        "across_source_splits": int((duplicates["source_splits"] > 1).sum()),
    }


def sample_statistics(sample: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """Return the size of the sample of pictures and how many of them have each issue."""
    return {
        "images": len(sample),
        "seed": seed,
        "quality": {issue: int(sample[issue].sum()) for issue in ISSUES},
        "typical": typical_issues(sample),
    }


def _describe(rows: pd.DataFrame) -> dict[str, Any]:
    counts = rows["split"].value_counts()
    return {
        "images": len(rows),
        **{name: int(counts.get(name, 0)) for name in SPLITS},
        **{name: _spread(rows[name]) for name in ("width", "height", "bytes")},
        "modes": _counted(rows["mode"]),
        "formats": _counted(rows["format"]),
    }


def _spread(values: "pd.Series[int]") -> dict[str, float] | None:
    if len(values) == 0:
        return None
    return {
        "min": int(values.min()),
        "median": float(values.median()),
        "max": int(values.max()),
    }


def _counted(values: "pd.Series[str]") -> dict[str, int]:
    return {str(value): int(count) for value, count in sorted(values.value_counts().items())}
