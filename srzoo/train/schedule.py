"""The learning rate over the steps of a run."""

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


def falling(step: int, warmup: int, milestones: Sequence[int]) -> float:
    """Factor on the base learning rate: a linear warm-up, then a tenth from each milestone on, as for detectors.

    Args:
        step: number of steps done.
        warmup: steps of the warm-up.
        milestones: numbers of steps.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 ** sum(step >= milestone for milestone in milestones)
