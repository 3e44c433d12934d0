"""Bilinear resize, as the library has it."""

import torch
from torch.nn import functional as F


def upsample_bilinear(logits: torch.Tensor, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    """``interpolate(logits, size, mode="bilinear")`` of ``(N, K, h, w)``: ``(N, K, H, W)`` of its dtype."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)
