"""Which method to use and what it costs, in words, from val alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from longtail.artifacts import Features, Split, TauNorm
from longtail.errors import LongtailError
from longtail.features import read_features
from longtail.files import read_json
from longtail.io.head_files import load_heads
from longtail.study.comparing import Bools, compare, holm

LEVEL = 0.05
CLEARLY_CHEAPER = 0.01  # of the first group's accuracy


@dataclass(frozen=True)
class Candidate:
    """A trained method and which images of val it has right, `[S, N]` for as many seeds."""

    label: str
    right: Bools


def candidates(prefix: str, *, features: Features, tau_norm: TauNorm) -> list[Candidate]:
    """Return every head of a finished flow, judged on the cached features of val."""
    val, labels = read_features(features, "val")
    heads = load_heads(tau_norm.heads)
    if "crt" in heads:  # a sweep: its stage 2 is one of the methods under another name
        del heads["stage2"]
    return [
        Candidate(
            f"{prefix}{name}", (head.logits(val[0]).max(dim=1).indices == labels).numpy()[None]
        )
        for name, head in heads.items()
    ]


def over_seeds(methods: Mapping[str, Sequence[Sequence[Candidate]]]) -> list[Candidate]:
    """Join the candidates of the same name, of all seeds of each row; some heads may lack one."""
    joined: list[Candidate] = []
    for by_seed in methods.values():
        for first in by_seed[0]:
            same = [c.right for seed in by_seed for c in seed if c.label == first.label]
            if len(same) == len(by_seed):
                joined.append(Candidate(first.label, np.concatenate(same)))
    return joined


def val_labels(features: Features) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Labels of val, `[N]`."""
    _, labels = read_features(features, "val")
    return np.asarray(labels.to(torch.int64).numpy())


def advise(
    split: Split, candidates: Sequence[Candidate], labels: "np.ndarray[Any, np.dtype[np.int64]]"
) -> list[str]:
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
    groups = _groups(profile, labels)
    if best == 0:
        lines.append(f"Use {chosen.label}: no other method is better on val.")
    else:
        lines.append(
            f"Use {chosen.label}: {100 * scores[best]:.1f} % balanced accuracy on val against "
            f"{100 * scores[0]:.1f} % of {baseline.label}. {_price(chosen, baseline, groups)}"
        )
        # The best of many is the luckiest too: as if each had been tested against the baseline.
        p = holm([compare(one.right, baseline.right, labels).p for one in candidates[1:]])
        if p[best - 1] >= LEVEL:
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


def _resolution(
    labels: "np.ndarray[Any, np.dtype[np.int64]]", best: Candidate, others: Sequence[Candidate]
) -> str:
    """How far the least certain of the differences from the best may be off."""
    ends = [compare(best.right, other.right, labels).interval for other in others]
    half = 100 * max(high - low for low, high in ends) / 2
    return (
        f"Val has {len(labels):,} images of {len(np.unique(labels))} classes: a difference of two "
        f"methods is known to about {half:.1f} points either way."
    )


def _groups(
    profile: dict[str, Any], labels: "np.ndarray[Any, np.dtype[np.int64]]"
) -> dict[str, Bools]:
    """Group -> which images of val are its, `[N]`; groups without any are left out."""
    group = np.asarray([entry["group"] for entry in profile["classes"]])[labels]
    masks = {name: group == name for name in profile["group_names"]}
    return {name: mask for name, mask in masks.items() if mask.any()}


def _price(ours: Candidate, theirs: Candidate, groups: dict[str, Bools]) -> str:
    changes = {
        name: 100 * float(ours.right[:, mask].mean() - theirs.right[:, mask].mean())
        for name, mask in groups.items()
    }
    given = [f"{change:.1f} points of {name}" for name, change in changes.items() if change > 0]
    taken = [f"{-change:.1f} points of {name}" for name, change in changes.items() if change < 0]
    parts = [*(["it gives " + " and ".join(given)] if given else [])]
    parts += ["it costs " + " and ".join(taken)] if taken else ["it costs nothing in any group"]
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _alternatives(
    candidates: Sequence[Candidate],
    scores: Sequence[float],
    best: int,
    labels: "np.ndarray[Any, np.dtype[np.int64]]",
    groups: dict[str, Bools],
) -> list[str]:
    """What val cannot tell from the best, and is clearly better on the largest classes."""
    others = [i for i in range(len(candidates)) if i != best]
    chosen = candidates[best]
    p = holm([compare(chosen.right, candidates[i].right, labels).p for i in others])
    first = next(iter(groups.values()))
    cheaper = [
        (float(candidates[i].right[:, first].mean() - chosen.right[:, first].mean()), i)
        for i, value in zip(others, p, strict=True)
        if value >= LEVEL
    ]
    name = next(iter(groups))
    return [
        f"{candidates[i].label} ({100 * scores[i]:.1f} %) is within noise of it, and keeps "
        f"{100 * more:.1f} points more of {name}."
        for more, i in sorted(cheaper, reverse=True)
        if more > CLEARLY_CHEAPER
    ]


def _balanced(right: Bools, labels: "np.ndarray[Any, np.dtype[np.int64]]") -> float:
    sizes = np.bincount(labels)
    present = sizes > 0
    return float((np.bincount(labels, right.mean(axis=0))[present] / sizes[present]).mean())
