"""Learning-rate schedules as a factor of the base rate, a pure function of the step."""

import math
from collections.abc import Sequence


def warmup_factor(step: int, *, warmup_steps: int) -> float:
    """Rise linearly to 1 over the first `warmup_steps` steps; step 0 is the start of the rise."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def cosine_factor(step: int, *, total_steps: int, warmup_steps: int, min_ratio: float) -> float:
    """Cosine from 1 to `min_ratio`, step by step, over the steps that follow the warm-up.

    `(1 + cos(pi t / T)) / 2 * (1 - e) + e`, with `t` counted from the end of the warm-up, `T` the
    total without the warm-up, and `e = min_ratio`.

    Source: Loshchilov & Hutter, SGDR (ICLR 2017), eq. 5, without restarts.
    """
    if step < warmup_steps:
        return warmup_factor(step, warmup_steps=warmup_steps)
    share = (step - warmup_steps) / (total_steps - warmup_steps)
    return (1 + math.cos(math.pi * share)) / 2 * (1 - min_ratio) + min_ratio


def step_factor(
    step: int, *, total_steps: int, warmup_steps: int, milestones: Sequence[tuple[float, float]]
) -> float:
    """1, and from each milestone `(share, factor)` of the steps on its factor of the base rate.

    The recipe of Cao et al. (NeurIPS 2019) for CIFAR-LT is `(0.8, 0.01), (0.9, 0.0001)`: of 200
    epochs, at 160 and at 180.
    """
    if step < warmup_steps:
        return warmup_factor(step, warmup_steps=warmup_steps)
    reached = [factor for share, factor in milestones if step >= round(share * total_steps)]
    return reached[-1] if reached else 1.0
