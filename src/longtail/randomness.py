"""Random generators that depend only on the place of use: a resumed run needs no state."""

from enum import IntEnum

import numpy as np
import torch


class Use(IntEnum):
    """What the random numbers of a place are for, so that no two uses share a stream."""

    ORDER = 0
    AUGMENTATION = 1
    MIXING = 2
    NOISE = 3
    SHIFT = 4
    VIEW = 5


def mixed_seed(seed: int, *place: int) -> int:
    """Mix a seed with a place (epoch, step, ...) into an independent 63-bit seed."""
    return int(np.random.SeedSequence((seed, *place)).generate_state(1, np.uint64)[0]) >> 1


def generator_at(seed: int, *place: int) -> torch.Generator:
    """Return a CPU generator for one place of a run, e.g. `generator_at(seed, epoch, step)`."""
    return torch.Generator().manual_seed(mixed_seed(seed, *place))
