"""Learning rate over the steps of a run."""


def poly(step: int, total: int, warmup: int, power: float = 0.9) -> float:
    """Factor of the base rate: linear over ``warmup`` steps, then ``(1 - step / total) ** power``."""
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, 1 - step / total) ** power
