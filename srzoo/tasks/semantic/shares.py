"""How often each class occurs, and weights that compensate for it."""

from __future__ import annotations

import math

import numpy as np

from ...data.samples import SemanticData

_COUNTED = 500  # masks are enough: ADE20K has 20,210


def label_shares(data: SemanticData, num_classes: int) -> np.ndarray:
    """``(num_classes,)`` float64: share of each class among the labelled pixels of up to 500 masks, evenly spread.

    Raises:
        ValueError: a mask cannot be read or mapped, or none of them has a labelled pixel.
    """
    counts = np.zeros(256, np.int64)
    for index in range(0, len(data), math.ceil(len(data) / _COUNTED)):
        counts += np.bincount(data.ids(index).ravel(), minlength=256)
    return shares_of(counts[:num_classes])


def shares_of(counts: np.ndarray) -> np.ndarray:
    """``(K,)`` numbers of pixels as fractions of their sum, float64.

    Raises:
        ValueError: the sum is zero.
    """
    total = counts.sum()
    if total == 0:
        raise ValueError("no pixel of the masks has a class: all are void")
    return counts / total


def class_weights(shares: np.ndarray, floor: float = 1.05) -> np.ndarray:
    """``1 / ln(floor + share)`` of each class (ENet, Paszke et al., 2016), scaled to a mean of 1 over those that occur.

    Args:
        shares: ``(K,)`` fractions, as `shares_of` returns them.
        floor: limits the weight of a rare class to ``1 / ln(floor)`` before scaling.
    """
    weights = 1 / np.log(floor + shares)
    return weights / weights[shares > 0].mean()
