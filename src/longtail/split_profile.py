"""What `profile.json` says in words and lists about a split."""

from collections.abc import Sequence
from typing import Any, Literal

from longtail.profiles import Counts


def imbalance_factor(counts: Counts) -> float | None:
    """Return the largest over the smallest count that is not 0; None if all are 0."""
    present = counts[counts > 0]
    return float(present.max() / present.min()) if len(present) else None


def class_list(
    names: Sequence[str],
    *,
    super_of: Sequence[int],
    groups: Sequence[str],
    planned: Counts,
    train: Counts,
    val: Counts,
    test: Counts,
) -> list[dict[str, Any]]:
    """Return one record per label; `super_of` is empty if there are no super-classes.

    `planned` is the training count that the law asks for, the others are what was drawn.
    """
    return [
        {
            "name": name,
            "super_label": super_of[label] if super_of else None,
            "group": groups[label],
            "planned": int(planned[label]),
            "train": int(train[label]),
            "val": int(val[label]),
            "test": int(test[label]),
        }
        for label, name in enumerate(names)
    ]


def val_source(
    take_from: Literal["train", "unused", "source"], *, per_class: int | None, share: float | None
) -> str:
    """Return a sentence on where the validation images come from."""
    amount = _amount(per_class, share)
    return {
        "train": f"{amount} of the training pool, taken before the law was applied.",
        "unused": f"{amount} of what the law left over, fewer where less was left.",
        "source": f"{amount} of the source's own validation split.",
    }[take_from]


def test_source(
    take_from: Literal["pool", "source"],
    distribution: Literal["as_is", "balanced", "long_tailed"],
    *,
    per_class: int | None,
    share: float | None,
) -> str:
    """Return a sentence on where the test images come from."""
    if distribution == "long_tailed":
        amount = f"By the training law, from {per_class} images of the largest class down, out"
    elif distribution == "balanced" and per_class is None:
        amount = "As many images of each class as the smallest has, out"
    else:
        amount = _amount(per_class, share)
    return {
        "pool": f"{amount} of all images, held out first.",
        "source": f"{amount} of the source's own test split.",
    }[take_from]


def _amount(per_class: int | None, share: float | None) -> str:
    if per_class is not None:
        return f"{per_class} images of each class, out"
    return "All images" if share is None else f"{share:.4g} of each class, out"
