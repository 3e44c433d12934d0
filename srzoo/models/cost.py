"""Multiply-adds of a network, counted without computing it."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(function: Callable[[], object]) -> int:
    """Number of multiply-adds in the matrix products and convolutions of a call. Fast if its tensors are on meta."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() // 2  # the counter counts a multiply-add as two operations
