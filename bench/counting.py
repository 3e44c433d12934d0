"""Multiply-adds, counted on the meta device."""

from __future__ import annotations

from collections.abc import Callable

import paired  # noqa: F401 (puts the checkout on sys.path)
import torch

from srzoo.models import cost


def multiply_adds(form: Callable[[torch.Tensor], object], shape: tuple[int, ...]) -> float:
    """Multiply-adds in 10^9 of a call with an input of this shape. The modules of ``form`` must be on meta."""
    return count(form, shape) / 1e9


def count(form: Callable[[torch.Tensor], object], shape: tuple[int, ...]) -> int:
    """Multiply-adds of a call with an input of this shape. The modules of ``form`` must be on meta."""
    with torch.device("meta"):
        return cost.multiply_adds(lambda: form(torch.empty(shape)))
