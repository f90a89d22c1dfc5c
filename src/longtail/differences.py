"""What one model does better or worse than another on the same test images, by group and class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longtail.gating.paired import Paired, Sample, accuracies, each_class, stacked, stratified
from longtail.gating.score import holm_tails, lower_end, p_above, p_below, upper_end


@dataclass(frozen=True)
class Difference:
    """Accuracies of two models and the difference, the second minus the first.

    Attributes:
        interval: of the difference, by itself; Tango's score interval of paired answers.
        sure: `better` or `worse` if that holds for all rows of its table together (Holm's
            procedure on both sides), else empty.
    """

    name: str
    images: int
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    sure: str


def overall(paired: Paired, *, confidence: float) -> list[Difference]:
    """Return the differences of accuracy and of balanced accuracy, class-stratified.

    Args:
        paired: counts of the second model (candidate) against the first (champion), by class.
    """
    whole = [stratified(paired, weighting="images"), stratified(paired, weighting="classes")]
    shares = [accuracies(paired, weighting="images"), accuracies(paired, weighting="classes")]
    images = int(paired.images.sum())
    names = ["accuracy", "balanced accuracy"]
    return _rows(names, [images, images], shares, stacked(whole), confidence=confidence)


def by_group(paired: Paired, *, groups: Sequence[str], confidence: float) -> list[Difference]:
    """Return the difference of the accuracy of each group that has test images.

    Args:
        groups: the group of every class, by label.
    """
    parts = {name: paired.only(np.asarray(groups) == name) for name in dict.fromkeys(groups)}
    known = {name: part for name, part in parts.items() if part.images.any()}
    samples = [stratified(part, weighting="images") for part in known.values()]
    shares = [accuracies(part, weighting="images") for part in known.values()]
    images = [int(part.images.sum()) for part in known.values()]
    return _rows(list(known), images, shares, stacked(samples), confidence=confidence)


def by_class(paired: Paired, *, names: Sequence[str], confidence: float) -> list[Difference]:
    """Return the difference of every class that has test images, the largest gain first."""
    present = np.flatnonzero(paired.images)
    own = paired.only(present)
    after = (own.both + own.gains) / own.images
    before = (own.both + own.losses) / own.images
    rows = _rows(
        [names[int(label)] for label in present],
        own.images.tolist(),
        list(zip(after.tolist(), before.tolist(), strict=True)),
        each_class(own),
        confidence=confidence,
    )
    return sorted(rows, key=lambda row: -row.difference)


def _rows(
    names: list[str],
    images: list[int],
    shares: list[tuple[float, float]],
    sample: Sample,
    *,
    confidence: float,
) -> list[Difference]:
    tail = (1 - confidence) / 2
    low, high = lower_end(sample, tail=tail), upper_end(sample, tail=tail)
    # Both directions of every row are claims of one family.
    p = np.concatenate([p_above(sample, difference=0.0), p_below(sample, difference=0.0)])
    better, worse = np.split(p <= holm_tails(p, tail=2 * tail), 2)
    return [
        Difference(
            name=name,
            images=images[i],
            before=shares[i][1],
            after=shares[i][0],
            difference=shares[i][0] - shares[i][1],
            interval=(float(low[i]), float(high[i])),
            sure="better" if better[i] else "worse" if worse[i] else "",
        )
        for i, name in enumerate(names)
    ]
