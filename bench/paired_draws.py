"""Two classifiers on a test split, drawn at random from probabilities that are known."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from longtail.gating.paired import Paired

GROUPS = ("many", "medium", "few")
ACCURACY = {"many": 0.65, "medium": 0.43, "few": 0.25}  # of CIFAR-100-LT, see the README
# Share of the disagreement of two independent models. Two separate trainings of ResNet-32 on
# CIFAR-100-LT have 0.46 to 0.51 of it, and classes that differ by 0.05 to 0.1.
DISAGREEMENT, MOVED = 0.5, 0.05


@dataclass(frozen=True)
class Test:
    """A test split: classes of each group, and test images of every class."""

    name: str
    classes: tuple[int, int, int]
    images: NDArray[np.int64]

    @property
    def groups(self) -> NDArray[np.str_]:
        return np.repeat(GROUPS, self.classes)

    @property
    def names(self) -> list[str]:
        return [str(label) for label in range(len(self.images))]


class Chances(NamedTuple):
    """Probabilities of every class's images, each `[C]`, as the counts of a `Paired`."""

    gains: NDArray[np.float64]
    losses: NDArray[np.float64]
    both: NDArray[np.float64]


def balanced(name: str, classes: tuple[int, int, int], images: int) -> Test:
    return Test(name, classes, np.full(sum(classes), images))


TESTS = (
    balanced("cifar100_lt", (35, 35, 30), 100),
    balanced("imagenet_lt", (385, 479, 136), 50),
    balanced("inaturalist2018", (842, 4076, 3224), 3),
)
OTHERS = (
    balanced("digits", (1, 5, 4), 40),
    # A test split with the law of the training images: 13 of the 100 classes have one image.
    Test("long_tailed", (35, 35, 30), np.geomspace(100, 0.8, 100).round().astype(int).clip(1)),
)


def draws(
    test: Test,
    *,
    few: float = 0.0,
    moved: float = 0.0,
    fall: float = 0.0,
    repeats: int,
    seed: int = 0,
) -> Iterator[tuple[Chances, Paired]]:
    """Yield the true probabilities and a table of counts drawn from them.

    The champion's class accuracies are of a beta distribution around its group's. The candidate's
    differ by `few` in *few* and by a normal of width `moved` that is zero in the mean of a group;
    the first class falls by `fall`, from at least that.
    """
    rng = np.random.default_rng(seed)
    groups = test.groups
    middle = np.array([ACCURACY[group] for group in groups])
    for _ in range(repeats):
        champion = rng.beta(8 * middle, 8 * (1 - middle)).clip(0.06, 0.94)
        champion[0] = max(champion[0], fall)
        change = rng.normal(0, moved, size=len(groups)) if moved else np.zeros(len(groups))
        change = np.clip(champion + change, 0, 1) - champion
        for group in GROUPS:
            change[groups == group] -= change[groups == group].mean()
        change += np.where(groups == "few", few, 0)
        change[0] -= fall
        truth = _joint(champion, np.clip(champion + change, 0, 1))
        cells = np.stack(truth)
        drawn = rng.multinomial(test.images, np.vstack([cells, 1 - cells.sum(axis=0)]).clip(0).T)
        yield truth, Paired(test.images, drawn[:, 0], drawn[:, 1], drawn[:, 2])


def _joint(champion: NDArray[np.float64], candidate: NDArray[np.float64]) -> Chances:
    """A mixture of independent answers and of answers that agree as much as they can."""
    mix = DISAGREEMENT
    gains = mix * candidate * (1 - champion) + (1 - mix) * np.maximum(candidate - champion, 0)
    losses = mix * champion * (1 - candidate) + (1 - mix) * np.maximum(champion - candidate, 0)
    return Chances(gains, losses, candidate - gains)
