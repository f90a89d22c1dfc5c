"""The heads of a study's finished cells, and which images of val each has right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import Features, Split, TauNorm
from longtail.errors import LongtailError
from longtail.features import read_features
from longtail.io.head_files import load_heads
from longtail.study.comparing import Bools
from longtail.study.runner import State

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """A trained method and which images of val it has right, `[S, N]` for as many seeds."""

    label: str
    right: Bools


@dataclass(frozen=True)
class Choice:
    """What there is to choose from on one split; `labels` are those of val, `[N]`."""

    split: Split
    candidates: list[Candidate]
    labels: Labels


def choice(states: Sequence[State], *, file: Path) -> Choice:
    """Return the heads of all finished cells, for the seeds that every row of them has.

    Args:
        states: of all cells of the study in `file`.

    Raises:
        LongtailError: no cell is done, they have several splits, or no seed in common.
    """
    done = [state for state in states if state.name == "done"]
    if not done:
        raise LongtailError(f"no cell of {file} is done; `longtail study run {file}` runs them")
    splits = {state.tasks["split"].out for state in done}
    if len(splits) > 1:
        raise LongtailError(
            f"{file} has {len(splits)} splits, but a method is advised for one; name the cells of "
            "one, as in --only 'IF 100 / *'"
        )
    rows: dict[str, dict[int, State]] = {}
    for state in done:
        rows.setdefault(state.cell.row, {})[state.cell.seed] = state
    shared = sorted(set.intersection(*(set(by_seed) for by_seed in rows.values())))
    if not shared:
        raise LongtailError(f"no seed of {file} is done for every method that is; run it on")
    methods = {row: [_heads(by_seed[seed]) for seed in shared] for row, by_seed in rows.items()}
    _, labels = read_features(Features(done[0].tasks["embed"].out), "val")
    return Choice(Split(splits.pop()), over_seeds(methods), labels.numpy())


def over_seeds(methods: Mapping[str, Sequence[Sequence[Candidate]]]) -> list[Candidate]:
    """Join the candidates of the same name, of all seeds of each row; some heads may lack one.

    Cells that share stage 1 share heads: what is right on the same images is there once, under its
    first name.
    """
    joined: dict[bytes, Candidate] = {}
    for by_seed in methods.values():
        for first in by_seed[0]:
            same = [c.right for seed in by_seed for c in seed if c.label == first.label]
            if len(same) == len(by_seed):
                right = np.concatenate(same)
                joined.setdefault(right.tobytes(), Candidate(first.label, right))
    return list(joined.values())


def _heads(state: State) -> list[Candidate]:
    """Every head of a finished flow, judged on the cached features of val."""
    features, labels = read_features(Features(state.tasks["embed"].out), "val")
    heads = load_heads(TauNorm(state.tasks["tau_norm"].out).heads)
    if "crt" in heads:  # a sweep: its stage 2 is one of the methods under another name
        del heads["stage2"]
    return [
        Candidate(
            f"{state.cell.row} / {name}",
            (head.logits(features[0]).max(dim=1).indices == labels).numpy()[None],
        )
        for name, head in heads.items()
    ]
