"""Regions in a crowd are neither objects nor background in training."""

from __future__ import annotations

import torch

_SHARE = 0.5  # of a region that lies in a crowd, from which on it is left out


def without_crowds(labels: torch.Tensor, boxes: torch.Tensor, crowds: torch.Tensor | None) -> torch.Tensor:
    """Labels with -1, which no loss counts, for background boxes of which more than half lies in a crowd.

    Args:
        labels: ``(R,)``, 0 for background.
        boxes: ``(R, 4)`` x0, y0, x1, y1.
        crowds: ``(n, 4)`` boxes of crowds; None for none.
    """
    if crowds is None or not len(crowds):
        return labels
    crowds = crowds.to(boxes.dtype)
    low = torch.maximum(boxes[:, None, :2], crowds[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    inside = (high - low).clamp(min=0).prod(2).amax(1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return torch.where((labels == 0) & (inside > _SHARE * area), -1, labels)
