"""What a network costs, counted without computing."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(function: Callable[[], object]) -> int:
    """Multiply-adds of a call, those of its matrix products and convolutions; on the meta device it takes no time."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() // 2  # the counter has two operations a multiply-add
