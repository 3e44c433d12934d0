"""Bilinear resize and argmax over the classes, without the full-resolution logits."""

import torch
from torch.nn import functional as F

from ..layout import check_feature_map

_BAND_ELEMENTS = 1 << 22  # 16 MB of float32: stays near the cache, and bounds the memory whatever the size


def _source_rows(size: int, source: int, align_corners: bool, device: torch.device):
    """Rows above and below each output row, and the weight of the one below."""
    position = torch.arange(size, device=device, dtype=torch.float32)
    if align_corners:
        position = position * ((source - 1) / (size - 1) if size > 1 else 0.0)
    else:
        position = ((position + 0.5) * (source / size) - 0.5).clamp_(min=0)
    above = position.long().clamp_(max=source - 1)
    return above, (above + 1).clamp_(max=source - 1), position - above


def upsample_argmax(logits: torch.Tensor, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    """Return ``interpolate(logits, size, mode="bilinear").argmax(1)``, computed in bands of rows.

    Args:
        logits: ``(N, K, h, w)``, any floating dtype.
        size: ``(H, W)`` of the labels.
        align_corners: as in ``torch.nn.functional.interpolate``.

    Returns:
        ``(N, H, W)`` labels, uint8 for up to 256 classes, else int64.

    Raises:
        ValueError: ``logits`` is not a floating ``(N, K, h, w)`` tensor, or a size is below 1.
    """
    check_feature_map(logits)
    n, k, h, w = logits.shape
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size must be at least (1, 1), got {tuple(size)}")
    labels = logits.new_empty((n, height, width), dtype=torch.uint8 if k <= 256 else torch.int64)
    above, below, weight = _source_rows(height, h, align_corners, logits.device)
    weight = weight.to(logits.dtype)[:, None]
    band = max(1, _BAND_ELEMENTS // max(1, n * k * width))
    for start in range(0, height, band):
        rows = slice(start, min(start + band, height))
        # Vertically by hand, so that a band can be cut out; horizontally by the library.
        mixed = torch.lerp(logits[:, :, above[rows]], logits[:, :, below[rows]], weight[rows])
        full = F.interpolate(mixed, size=(mixed.shape[2], width), mode="bilinear", align_corners=align_corners)
        labels[:, rows] = full.argmax(1)
    return labels
