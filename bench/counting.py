"""Multiply-adds, counted without computing."""

from __future__ import annotations

from collections.abc import Callable

import paired  # noqa: F401 (finds the checkout's packages)
import torch

from srzoo.models import cost


def multiply_adds(form: Callable[[torch.Tensor], object], shape: tuple[int, ...]) -> float:
    """Of a form whose module is on the meta device, in 10^9."""
    return count(form, shape) / 1e9


def count(form: Callable[[torch.Tensor], object], shape: tuple[int, ...]) -> int:
    """The same as a number."""
    with torch.device("meta"):
        return cost.multiply_adds(lambda: form(torch.empty(shape)))
