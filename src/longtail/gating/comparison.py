"""A candidate against the champion, on the same test images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from longtail.errors import first_few
from longtail.gating.checks import Check, judge, too_small, undecided, unmeasured
from longtail.gating.paired import Paired, accuracies, each_class, stacked, stratified
from longtail.gating.score import holm_tails, lower_end, p_above, p_below, upper_end

AGAINST = "against the champion"


def gain(paired: Paired, *, min_gain: float, confidence: float) -> Check:
    """Require that the balanced accuracy is above the champion's by more than `min_gain`."""
    tail = (1 - confidence) / 2
    sample = stratified(paired, weighting="classes")
    return judge(
        f"balanced accuracy {AGAINST}",
        float(sample.difference),
        (float(lower_end(sample, tail=tail)), float(upper_end(sample, tail=tail))),
        min_gain,
        what=_both("balanced accuracy", accuracies(paired, weighting="classes")),
        signed=True,
    )


def group_gains(
    paired: Paired,
    *,
    groups: Sequence[str],
    min_group_gain: Mapping[str, float],
    confidence: float,
) -> list[Check]:
    """Require of each group that its accuracy is above the champion's by more than its bound.

    All must pass, so none needs a correction to promote (intersection-union).

    Args:
        groups: the group of every class, by label.
        min_group_gain: group -> bound.
    """
    tail = (1 - confidence) / 2
    checks = []
    for group, bound in sorted(min_group_gain.items()):
        own, name = paired.only(np.asarray(groups) == group), f"{group} gain {AGAINST}"
        if not own.images.any():
            checks.append(unmeasured(name, bound))
            continue
        sample = stratified(own, weighting="images")
        interval = (float(lower_end(sample, tail=tail)), float(upper_end(sample, tail=tail)))
        what = _both(f"{group} accuracy", accuracies(own, weighting="images"))
        checks.append(
            judge(name, float(sample.difference), interval, bound, what=what, signed=True)
        )
    return checks


def group_losses(
    paired: Paired,
    *,
    groups: Sequence[str],
    max_group_loss: Mapping[str, float],
    confidence: float,
) -> list[Check]:
    """Require of each group that its accuracy falls by less than its margin.

    Both ends of the intervals are at the level that Holm's procedure gives the group, so that the
    results hold for all groups together.

    Args:
        groups: the group of every class, by label.
        max_group_loss: group -> margin.
    """
    own = {name: paired.only(np.asarray(groups) == name) for name in sorted(max_group_loss)}
    known = [name for name in own if own[name].images.any()]
    sample = stacked([stratified(own[name], weighting="images") for name in known])
    bounds = np.array([-max_group_loss[name] for name in known])
    tail = (1 - confidence) / 2
    safe = holm_tails(p_above(sample, difference=bounds), tail=tail)
    lost = holm_tails(p_below(sample, difference=bounds), tail=tail)
    low, high = lower_end(sample, tail=safe), upper_end(sample, tail=lost)
    checks = {
        name: judge(
            f"{name} {AGAINST}",
            float(sample.difference[i]),
            (float(low[i]), float(high[i])),
            float(bounds[i]),
            what=_both(f"{name} accuracy", accuracies(own[name], weighting="images")),
            signed=True,
            note=too_small(int(own[name].images.sum()), -float(bounds[i]), tail=float(safe[i])),
        )
        for i, name in enumerate(known)
    }
    return [
        checks.get(name) or unmeasured(f"{name} {AGAINST}", -max_group_loss[name]) for name in own
    ]


def worst_class(
    paired: Paired,
    *,
    names: Sequence[str],
    max_loss: float,
    min_images: int,
    confidence: float,
    noun: str = "class",
) -> Check:
    """Require that no class with enough test images falls by more than a margin.

    It passes if each of them is shown to fall by less: as all must pass, none needs a correction.
    It fails if one of them is shown to fall by more, by Holm's procedure over all of them. The
    interval is that of the class named in the reason, each end at its own level.

    Args:
        paired: by class, or by whatever else `noun` says.
        max_loss: the margin.
        min_images: classes with fewer test images are not judged; that is said in the reason.
    """
    name, bound = f"worst {noun} {AGAINST}", -max_loss
    enough = np.flatnonzero(paired.images >= max(min_images, 1))
    if not enough.size:
        reason = (
            f"no {noun} has {min_images} test images, the most is {paired.images.max()}: nothing "
            f"can be said of a single {noun}; ask for fewer, or do not ask for this"
        )
        return undecided(name, reason, bound=bound)
    sample, tail = each_class(paired.only(enough)), (1 - confidence) / 2
    low = lower_end(sample, tail=tail)
    high = upper_end(sample, tail=holm_tails(p_below(sample, difference=bound), tail=tail))
    fallen, open_ones = high < bound, low < bound
    worst = int(np.argmin(high if fallen.any() else low))
    check = judge(
        name,
        float(sample.difference[worst]),
        (float(low[worst]), float(high[worst])),
        bound,
        what=f"{names[enough[worst]]}, the worst of {enough.size} {noun}es with at least "
        f"{min_images} test images, differs by",
        signed=True,
        note=too_small(int(sample.images[worst]), max_loss, tail=tail),
    )
    alike = np.flatnonzero(fallen if fallen.any() else open_ones)
    others = [names[enough[i]] for i in alike if i != worst]
    rest = len(paired.images) - enough.size
    return replace(check, reason=check.reason + _likewise(others) + _left_out(rest))


def _likewise(names: list[str]) -> str:
    return f"; likewise {first_few(names)}" if names else ""


def _left_out(count: int) -> str:
    return f"; {count} with fewer are not judged" if count else ""


def _both(what: str, both: tuple[float, float]) -> str:
    return f"{what} {both[0]:.4f} against the champion's {both[1]:.4f} is a difference of"
