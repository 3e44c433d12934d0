"""Bilinear resize and cross-entropy, as the library has them."""

import torch
from torch.nn import functional as F

from .labels import hard_pixels


def upsample_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    ignore_index: int = 255,
    weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    ohem: tuple[float, int] | None = None,
    align_corners: bool = False,
) -> torch.Tensor:
    """``cross_entropy(interpolate(logits, target's size), target)`` over the pixels that ``ohem`` keeps.

    ``ohem`` is ``(threshold, min_kept)`` of `hard_pixels`. Without a labelled pixel, or if the weights of
    all sum to zero: zero, and a gradient of zero.
    """
    full = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=align_corners)
    target = target.long()
    if ohem is not None:
        labelled = target != ignore_index
        classes = target.where(labelled, 0)[:, None]
        probability = full.detach().softmax(1).gather(1, classes)[:, 0]
        target = target.where(hard_pixels(probability, labelled, *ohem), ignore_index)
    total = F.cross_entropy(full, target, weight, None, ignore_index, None, "sum", label_smoothing)
    labelled = target != ignore_index
    share = labelled if weight is None else weight[target.where(labelled, 0)] * labelled
    divisor = share.sum()
    has_share = divisor != 0
    return total.where(has_share, 0) / divisor.where(has_share, 1)
