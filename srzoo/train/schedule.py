"""The learning rate over the steps of a run."""

import math
from collections.abc import Sequence


def poly(step: int, total: int, warmup: int, power: float = 0.9) -> float:
    """Factor on the base learning rate: a linear warm-up, then ``(1 - step / total) ** power``.

    It is the "poly" policy of the paper's supplement ("Cityscapes (real-time settings)"), with a warm-up before it.

    Args:
        step: number of steps done.
        total: steps of the whole run; 0 from there on.
        warmup: steps of the warm-up.
        power: exponent.
    """
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, 1 - step / total) ** power


def cosine(step: int, total: int, warmup: int) -> float:
    """Factor on the base learning rate: a linear warm-up, then half a cosine from 1 to 0 (Loshchilov & Hutter, 2017).

    Args:
        step: number of steps done.
        total: steps of the whole run; 0 from there on.
        warmup: steps of the warm-up.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return (1 + math.cos(math.pi * done)) / 2


def falling(step: int, warmup: int, milestones: Sequence[int]) -> float:
    """Factor on the base learning rate: a linear warm-up, then a tenth from each milestone on, as for detectors.

    Without milestones it is constant after the warm-up.

    Args:
        step: number of steps done.
        warmup: steps of the warm-up.
        milestones: numbers of steps.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 ** sum(step >= milestone for milestone in milestones)
