"""The gate's arithmetic: floors under a candidate's numbers, and its comparison with the champion.

Every check is decided (passed or failed) or undecidable; the outcome follows from all of them.
"""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from longtail.errors import LongtailError
from longtail.metrics import balanced_accuracy

Outcome = Literal["promote", "hold", "reject"]
Metrics = Mapping[str, float | None]
Integers = NDArray[np.integer]

# Differences of accuracies carry rounding errors; this is far below one image of any test split.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Check:
    """One question to a candidate. `passed` is None where there is nothing to decide it by."""

    name: str
    passed: bool | None
    value: float | None
    bound: float | None
    reason: str


def outcome(checks: Sequence[Check]) -> Outcome:
    """Return reject if a check failed, else hold if one is undecided, else promote.

    Nothing checked is nothing shown: no checks at all hold.
    """
    verdicts = [check.passed for check in checks]
    if False in verdicts:
        return "reject"
    return "promote" if verdicts and None not in verdicts else "hold"


def undecided(name: str, reason: str) -> Check:
    """Return a check that holds the candidate back without judging it."""
    return Check(name, passed=None, value=None, bound=None, reason=reason)


def require_groups(asked: Iterable[str], known: Sequence[str], *, where: str) -> None:
    """Raise LongtailError if `asked` names a group that is not in `known`, with the nearest."""
    for name in asked:
        if name in known:
            continue
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"the groups are {', '.join(known)}"
        raise LongtailError(f"{where} names the group `{name}`, which this split lacks; {hint}")


def floors(
    metrics: Mapping[str, Metrics],
    *,
    min_balanced_accuracy: float | None,
    min_group_accuracy: Mapping[str, float],
    max_calibration_error: float | None,
) -> list[Check]:
    """Check a candidate's own numbers against fixed bounds; a bound itself still passes.

    Args:
        metrics: `all` or a group's name -> metric -> value, None where the group is empty.
        min_balanced_accuracy: floor of the mean of the class accuracies; None: not checked.
        min_group_accuracy: group -> floor of its accuracy.
        max_calibration_error: ceiling of the expected calibration error; None: not checked.
    """
    whole = metrics["all"]
    checks = []
    if min_balanced_accuracy is not None:
        checks.append(
            _at_least("balanced accuracy", whole["balanced_accuracy"], min_balanced_accuracy)
        )
    for group, floor in sorted(min_group_accuracy.items()):
        checks.append(_at_least(f"{group} accuracy", metrics[group]["accuracy"], floor))
    if max_calibration_error is not None:
        checks.append(
            _at_most("calibration error", whole["calibration_error"], max_calibration_error)
        )
    return checks


def comparison(
    candidate: Integers,
    champion: Integers,
    labels: Integers,
    *,
    groups: Sequence[str],
    min_gain: float,
    max_group_loss: Mapping[str, float],
) -> list[Check]:
    """Check a candidate's predictions against the champion's on the same images.

    The gain in balanced accuracy must be above `min_gain`; the accuracy of a group may fall by at
    most its bound. Both models are measured with the candidate's groups.

    Args:
        candidate: predicted labels `[N]`.
        champion: predicted labels `[N]` of the same images in the same order.
        labels: true labels `[N]`.
        groups: the group of every class, by label.
        min_gain: bound of the gain, exclusive.
        max_group_loss: group -> largest loss of accuracy, inclusive.
    """
    ours = balanced_accuracy(candidate, labels, num_classes=len(groups))
    theirs = balanced_accuracy(champion, labels, num_classes=len(groups))
    checks = [_gain(ours, theirs, min_gain)]
    group_of_image = np.asarray(groups)[labels]
    for group, bound in sorted(max_group_loss.items()):
        inside = group_of_image == group
        if not inside.any():
            checks.append(_unmeasured(f"{group} loss", bound))
            continue
        kept = float(np.mean(candidate[inside] == labels[inside]))
        had = float(np.mean(champion[inside] == labels[inside]))
        checks.append(_loss(group, kept, had, bound))
    return checks


def split_digest(ids: Sequence[str], labels: Integers) -> str:
    """Return the SHA-256 of a test split's ids and labels, whatever the order of its rows."""
    rows = sorted(f"{image} {label}\n" for image, label in zip(ids, labels, strict=True))
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def _at_least(what: str, value: float | None, floor: float) -> Check:
    if value is None:
        return _unmeasured(what, floor)
    passed = value >= floor - ROUNDING
    relation = "is at least" if passed else "is below"
    return Check(what, passed, value, floor, f"{what} {value:.4f} {relation} {floor:.4f}")


def _at_most(what: str, value: float | None, ceiling: float) -> Check:
    if value is None:
        return _unmeasured(what, ceiling)
    passed = value <= ceiling + ROUNDING
    relation = "is at most" if passed else "is above"
    return Check(what, passed, value, ceiling, f"{what} {value:.4f} {relation} {ceiling:.4f}")


def _gain(ours: float, theirs: float, bound: float) -> Check:
    gain = ours - theirs
    passed = gain > bound + ROUNDING
    reason = (
        f"balanced accuracy {ours:.4f} against the champion's {theirs:.4f} is a gain of "
        f"{gain:+.4f}, {'above' if passed else 'not above'} {bound:+.4f}"
    )
    return Check("gain over the champion", passed, gain, bound, reason)


def _loss(group: str, ours: float, theirs: float, bound: float) -> Check:
    loss = theirs - ours
    passed = loss <= bound + ROUNDING
    reason = (
        f"{group} accuracy {ours:.4f} against the champion's {theirs:.4f} is a loss of "
        f"{loss:+.4f}, {'at most' if passed else 'above'} {bound:.4f}"
    )
    return Check(f"{group} loss", passed, loss, bound, reason)


def _unmeasured(what: str, bound: float) -> Check:
    reason = f"{what} is unknown: the test split has no such images, so {bound:.4f} cannot be shown"
    return Check(what, passed=None, value=None, bound=bound, reason=reason)
