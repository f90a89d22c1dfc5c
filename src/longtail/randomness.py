"""Random generators that depend only on the place of use: a resumed run needs no state."""

import numpy as np
import torch


def mixed_seed(seed: int, *place: int) -> int:
    """Mix a seed with a place (epoch, step, ...) into an independent 63-bit seed."""
    return int(np.random.SeedSequence((seed, *place)).generate_state(1, np.uint64)[0]) >> 1


def generator_at(seed: int, *place: int) -> torch.Generator:
    """Return a CPU generator for one place of a run, e.g. `generator_at(seed, epoch, step)`."""
    return torch.Generator().manual_seed(mixed_seed(seed, *place))
