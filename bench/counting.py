"""Multiply-adds, counted without computing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(form: Callable[[torch.Tensor], object], shape: tuple[int, ...]) -> float:
    """Of a form whose module is on the meta device, in 10^9."""
    return count(form, shape) / 1e9


def count(form: Callable[[torch.Tensor], object], shape: tuple[int, ...]) -> int:
    """The same as a number; a multiply-add is two of the counter's operations."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        form(torch.empty(shape))
    return counter.get_total_flops() // 2
