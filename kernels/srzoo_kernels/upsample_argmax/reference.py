"""Bilinear resize and argmax over the classes, as the library has them."""

import torch
from torch.nn import functional as F

from ..layout import label_dtype


def upsample_argmax(
    logits: torch.Tensor, size: tuple[int, int], align_corners: bool = False, return_probability: bool = False
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """``interpolate(logits, size, mode="bilinear").argmax(1)`` of ``(N, K, h, w)``: labels ``(N, H, W)``.

    uint8 for up to 256 classes, else int64; with ``return_probability`` also the softmax's maximum, float32.
    """
    full = F.interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)
    labels = full.argmax(1).to(label_dtype(logits.shape[1]))
    return (labels, full.softmax(1).amax(1).float()) if return_probability else labels
