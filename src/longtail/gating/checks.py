"""Checks of a candidate, each decided by an interval, and the outcome of all of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from longtail.config.section import nearest
from longtail.errors import LongtailError
from longtail.gating.score import images_needed, surest_bound

Outcome = Literal["promote", "hold", "reject"]
Interval = tuple[float, float]

# Ends of intervals carry rounding errors; this is far below one image of any test split.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Check:
    """One question to a candidate.

    Attributes:
        passed: None where the interval straddles the bound, or there is nothing to decide by.
        interval: of the value, at the level of the decision.
        reason: all of this in words.
    """

    name: str
    passed: bool | None
    value: float | None
    interval: Interval | None
    bound: float | None
    reason: str


def outcome(checks: Sequence[Check]) -> Outcome:
    """Return reject if a check failed, else hold if one is undecided, else promote.

    Without any check the outcome is hold, because nothing has been shown.
    """
    verdicts = [check.passed for check in checks]
    if False in verdicts:
        return "reject"
    return "promote" if verdicts and None not in verdicts else "hold"


def undecided(name: str, reason: str, *, bound: float | None = None) -> Check:
    """Return a check that holds the candidate back without judging it."""
    return Check(name, passed=None, value=None, interval=None, bound=bound, reason=reason)


def judge(
    name: str,
    value: float,
    interval: Interval,
    bound: float,
    *,
    what: str,
    ceiling: bool = False,
    signed: bool = False,
    note: str = "",
) -> Check:
    """Pass if the whole interval is on the right side of the bound, fail if none of it is.

    Args:
        what: how the reason begins; the value, its interval and the bound follow.
        ceiling: the right side is below; a bound itself is on the right side.
        signed: write `+` too.
        note: end of the reason where the interval straddles the bound.
    """
    low, high = interval
    room = (bound - high, bound - low) if ceiling else (low - bound, high - bound)
    passed = True if room[0] >= -ROUNDING else False if room[1] < -ROUNDING else None
    relation = {
        True: "is at or below" if ceiling else "is at or above",
        False: "is above" if ceiling else "is below",
        None: "straddles",
    }[passed]
    sign = "+" if signed else ""
    reason = (
        f"{what} {value:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}] {relation} {bound:{sign}.4f}"
    )
    if passed is None:
        reason += f": inconclusive{note}"
    return Check(name, passed, value, interval, bound, reason)


def too_small(images: int, distance: float, *, tail: float) -> str:
    """Return a remark if so few images cannot decide anything, else an empty text.

    Args:
        distance: from a faultless result to the bound.
        tail: at which the bound is judged.
    """
    if not 0 < distance <= surest_bound(images, tail=tail):
        return ""
    return (
        f"; {images} test images are too few to decide this, as even without a single fault they "
        f"leave {surest_bound(images, tail=tail):.4f} open: it takes at least "
        f"{images_needed(distance, tail=tail)}"
    )


def unmeasured(name: str, bound: float) -> Check:
    """Return the check of a group that the test split has no images of."""
    reason = f"{name} is unknown: the test split has no such images, so {bound:.4f} cannot be shown"
    return undecided(name, reason, bound=bound)


def require_groups(asked: Iterable[str], known: Sequence[str], *, where: str) -> None:
    """Raise LongtailError if `asked` names a group that is not in `known`, with the nearest."""
    for name in asked:
        if name not in known:
            raise LongtailError(
                f"{where} names the group `{name}`, which this split lacks"
                f"{nearest(name, list(known))}"
            )
