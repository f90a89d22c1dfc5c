"""How many images of each class a split takes: counts in, counts out, and errors that say why not.

All arrays are int64 `[C]` by label. `available` is what a class can still give.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from longtail.errors import LongtailError, first_few
from longtail.profiles import Counts, TailLaw


def stratified_quota(totals: Counts, *, share: float) -> Counts:
    """Return `share` of each class, rounded half up.

    A class of 3 images or more gives at least one (if `share > 0`), so that small classes are seen
    on every side.
    """
    rounded: Counts = np.floor(totals * share + 0.5).astype(np.int64)
    return np.maximum(rounded, totals >= 3) if share > 0 else rounded


def test_quota(
    available: Counts,
    *,
    distribution: Literal["as_is", "balanced", "long_tailed"],
    per_class: int | None,
    share: float | None,
    law: TailLaw | None,
) -> Counts:
    """Return the test images of each class.

    `as_is`: a stratified share, or all; `balanced`: `per_class`, or what the smallest class has;
    `long_tailed`: `law` from `per_class` down, so both must be given.
    """
    if distribution == "as_is":
        return available if share is None else stratified_quota(available, share=share)
    if distribution == "balanced":
        return np.full_like(available, available.min() if per_class is None else per_class)
    if law is None or per_class is None:
        raise ValueError("a long-tailed test set needs a law and per_class")
    return law.counts(per_class)


def val_quota(totals: Counts, *, per_class: int | None, share: float | None) -> Counts:
    """Return the validation images of each class: `per_class`, a share of `totals`, or all."""
    if per_class is not None:
        return np.full_like(totals, per_class)
    return totals if share is None else stratified_quota(totals, share=share)


def train_quota(
    available: Counts, *, law: TailLaw | None, n_max: int | None, names: Sequence[str]
) -> Counts:
    """Return the training images of each class: what `law` plans, or all that are available.

    Without `n_max` the law is as large as every class can supply. Raises LongtailError if a class
    cannot give what the law plans, or if the law plans 0 images of a class.
    """
    if law is None:
        return available
    check_none_empty(
        available,
        names=names,
        fix="split.val and split.test take all that they have: lower what these take of a class",
    )
    largest = law.largest_n_max(available)
    planned = law.counts(n_max or largest)
    fix = f"the most that every class can supply is split.max_per_class {largest}"
    check_supply(planned, available, names=names, what="training", fix=fix)
    check_none_empty(
        planned,
        names=names,
        fix=f"from {n_max or largest} images and imbalance_factor {law.imbalance_factor:g} the law "
        f"reaches 0: set split.lift_to_one: true, lower split.imbalance_factor or raise "
        f"split.max_per_class ({fix})",
    )
    return planned


def check_none_empty(planned: Counts, *, names: Sequence[str], fix: str) -> None:
    """Raise LongtailError naming the classes that would have no training image."""
    empty = [name for name, count in zip(names, planned, strict=True) if count == 0]
    if empty:
        raise LongtailError(
            f"split: {len(empty)} of {len(names)} classes would have 0 training images: "
            f"{first_few(empty)}; {fix}"
        )


def check_supply(
    wanted: Counts, available: Counts, *, names: Sequence[str], what: str, fix: str
) -> None:
    """Raise LongtailError naming the classes that have fewer images than `wanted`."""
    short = np.flatnonzero(wanted > available)
    if len(short):
        offenders = [
            f"{names[int(c)]} (wanted {wanted[c]}, available {available[c]})" for c in short
        ]
        raise LongtailError(f"split: too few images for {what}: {first_few(offenders)}; {fix}")
