"""Equality of results, whose arrays Python's own comparison of dataclasses refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from PIL import Image


class ComparedByValue:
    """Base of dataclasses made with ``eq=False``: equal to another of the same class if all of their fields are.

    Arrays and tensors are equal if shape and elements are, images if size, mode and pixels are.
    """

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_are_equal(getattr(self, item.name), getattr(other, item.name)) for item in dataclasses.fields(self))


def _are_equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and np.array_equal(a, b)
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, Image.Image):  # Pillow compares what the files said of themselves, too
        return isinstance(b, Image.Image) and (a.size, a.mode) == (b.size, b.mode) and a.tobytes() == b.tobytes()
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(_are_equal, a, b))
    return a == b
