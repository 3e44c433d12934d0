"""How often each class occurs, and the weights that make up for it."""

from __future__ import annotations

import math

import numpy as np

from .samples import SegmentationData

_COUNTED = 500  # masks are enough; ADE20K has 20,210


def label_shares(data: SegmentationData, num_classes: int) -> np.ndarray:
    """``(K,)`` float64: share of each class among the labelled pixels of up to 500 masks over the whole split.

    Raises:
        ValueError: a mask that cannot be read or mapped, or no labelled pixel in all of them.
    """
    counts = np.zeros(256, np.int64)
    for index in range(0, len(data), math.ceil(len(data) / _COUNTED)):
        counts += np.bincount(data.ids(index).ravel(), minlength=256)
    return shares_of(counts[:num_classes])


def shares_of(counts: np.ndarray) -> np.ndarray:
    """Pixel counts as fractions of their sum.

    Raises:
        ValueError: the sum is zero.
    """
    total = counts.sum()
    if total == 0:
        raise ValueError("no pixel of the masks has a class: all are void")
    return counts / total


def class_weights(shares: np.ndarray, floor: float = 1.05) -> np.ndarray:
    """``1 / ln(floor + share)`` of each class (ENet, Paszke et al., 2016), with a mean of 1 over those that occur."""
    weights = 1 / np.log(floor + shares)
    return weights / weights[shares > 0].mean()
