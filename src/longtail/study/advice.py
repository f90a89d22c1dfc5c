"""Which method to use and what it costs, in words, from val alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longtail.artifacts import Split
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.study.candidates import Candidate, Labels, choice
from longtail.study.comparing import Bools, compare, compare_together
from longtail.study.runner import State

LEVEL = 0.05
CLEARLY_CHEAPER = 0.01  # of the first group's accuracy


def advise_study(states: Sequence[State], *, file: Path) -> Iterator[str]:
    """Yield what to say of a study: which of its rows are not done yet, then `advise`.

    Args:
        states: of all cells of the study in `file`.

    Raises:
        LongtailError: there is nothing to choose from, or not on one split for the same seeds.
    """
    found = choice(states, file=file)
    rows = {state.cell.row for state in states}
    missing = rows - {state.cell.row for state in states if state.name == "done"}
    if missing:
        yield f"Not done yet, so not considered: {', '.join(sorted(missing))}."
    yield from advise(found.split, found.candidates, found.labels)


def advise(split: Split, candidates: Sequence[Candidate], labels: Labels) -> list[str]:
    """Return sentences: the data, what val can tell apart, the best method, its price, others.

    The first candidate is what the others are compared with.

    Raises:
        LongtailError: there is nothing to choose from.
    """
    if len(candidates) < 2:
        raise LongtailError("there is one method only, so nothing to choose; run a sweep first")
    profile = read_json(split.profile)
    scores = [_balanced(candidate.right, labels) for candidate in candidates]
    best = int(np.argmax(scores))
    baseline = candidates[0]
    chosen = candidates[best]
    others = [candidate for candidate in candidates if candidate is not chosen]
    lines = [_data(profile), _resolution(labels, chosen, others)]
    groups, unseen = _groups(profile, labels)
    if best == 0:
        lines.append(f"Use {chosen.label}: no other method is better on val.")
    else:
        lines.append(
            f"Use {chosen.label}: {100 * scores[best]:.1f} % balanced accuracy on val against "
            f"{100 * scores[0]:.1f} % of {baseline.label}. "
            + _price(chosen, baseline, groups, unseen)
        )
        # The best of many is the luckiest too: as if each had been tested against the baseline.
        tests = compare_together([(c.right, baseline.right, labels) for c in candidates[1:]])
        if tests[best - 1].p >= LEVEL:
            lines.append(f"Val cannot tell it from {baseline.label}: the difference may be chance.")
    return lines + _alternatives(candidates, scores, best, labels, groups)


def _data(profile: dict[str, Any]) -> str:
    classes = profile["classes"]
    counts = [entry["train"] for entry in classes]
    names = profile["group_names"]
    sizes = [sum(entry["group"] == name for entry in classes) for name in names]
    factor = profile["imbalance_factor"]
    return (
        f"{sum(counts):,} training images of {len(classes)} classes, imbalance factor {factor:g}: "
        + ", ".join(f"{size} {name}" for size, name in zip(sizes, names, strict=True))
        + "."
    )


def _resolution(labels: Labels, best: Candidate, others: Sequence[Candidate]) -> str:
    """How far the least certain of the differences from the best may be off."""
    ends = [compare(best.right, other.right, labels).interval for other in others]
    half = 100 * max(high - low for low, high in ends) / 2
    return (
        f"Val has {len(labels):,} images of {len(np.unique(labels))} classes: a difference of two "
        f"methods is known to about {half:.1f} points either way."
    )


def _groups(profile: dict[str, Any], labels: Labels) -> tuple[dict[str, Bools], list[str]]:
    """Group -> which images of val are its, `[N]`; and groups with classes but without any."""
    group = np.asarray([entry["group"] for entry in profile["classes"]])
    masks = {name: group[labels] == name for name in profile["group_names"] if name in group}
    seen = {name: mask for name, mask in masks.items() if mask.any()}
    return seen, [name for name in masks if name not in seen]


def _price(
    ours: Candidate, theirs: Candidate, groups: dict[str, Bools], unseen: Sequence[str]
) -> str:
    changes = {
        name: 100 * float(ours.right[:, mask].mean() - theirs.right[:, mask].mean())
        for name, mask in groups.items()
    }
    given = [f"{change:.1f} points of {name}" for name, change in changes.items() if change > 0]
    taken = [f"{-change:.1f} points of {name}" for name, change in changes.items() if change < 0]
    parts = ["it gives " + " and ".join(given)] if given else []
    if taken:
        parts.append("it costs " + " and ".join(taken))
    elif not unseen:
        parts.append("it costs nothing in any group")
    if unseen:
        parts.append(f"what it costs {' and '.join(unseen)} is unknown: val has none")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _alternatives(
    candidates: Sequence[Candidate],
    scores: Sequence[float],
    best: int,
    labels: Labels,
    groups: dict[str, Bools],
) -> list[str]:
    """What val cannot tell from the best, and is clearly better on the largest classes."""
    others = [i for i in range(len(candidates)) if i != best]
    chosen = candidates[best]
    name, first = next(iter(groups.items()))
    tests = compare_together([(chosen.right, candidates[i].right, labels) for i in others])
    cheaper = [
        (float(candidates[i].right[:, first].mean() - chosen.right[:, first].mean()), i)
        for i, test in zip(others, tests, strict=True)
        if test.p >= LEVEL
    ]
    return [
        f"{candidates[i].label} ({100 * scores[i]:.1f} %) is within noise of it, and keeps "
        f"{100 * more:.1f} points more of {name}."
        for more, i in sorted(cheaper, reverse=True)
        if more > CLEARLY_CHEAPER
    ]


def _balanced(right: Bools, labels: Labels) -> float:
    sizes = np.bincount(labels)
    present = sizes > 0
    return float((np.bincount(labels, right.mean(axis=0))[present] / sizes[present]).mean())
