"""Some rows of a bilinear resize, for what is computed strip by strip."""

import torch

from ..layout import accumulation_dtype
from .cells import source_pixels, source_positions


def interpolate_rows(
    logits: torch.Tensor, top: int, bottom: int, size: tuple[int, int], align_corners: bool = False
) -> torch.Tensor:
    """Return rows ``top:bottom`` of ``interpolate(logits, size, mode="bilinear")`` without computing the others.

    Positions and order of rounding are those of `upsample_argmax` on a CPU, so that the ``argmax`` of the strips is its
    label. ``interpolate`` rounds a value in another order, and differs by a unit in the last place or two.

    Args:
        logits: ``(N, K, h, w)``, any floating dtype, on any device.
        top, bottom: ``0 <= top < bottom <= H``.
        size: ``(H, W)`` of the whole result, in pixels.
        align_corners: as in ``torch.nn.functional.interpolate``.

    Returns:
        ``(N, K, bottom - top, W)`` in float32, for float64 logits in float64.
    """
    dtype = accumulation_dtype(logits)
    (upper, lower), down = _axis(size[0], logits.shape[2], align_corners, dtype, logits.device)
    (left, right), across = _axis(size[1], logits.shape[3], align_corners, dtype, logits.device)
    upper, lower, down = (each[top:bottom] for each in (upper, lower, down))
    rows = torch.lerp(logits[:, :, upper].to(dtype), logits[:, :, lower].to(dtype), down[:, None])  # (N, K, rows, w)
    # index_select is five times slower along the last axis than gather, whose index needs no memory when expanded.
    left, right = (rows.gather(3, each.expand(*rows.shape[:3], -1)) for each in (left, right))
    return left.lerp_(right, across)


def _axis(size, source, align_corners, dtype, device):
    return source_pixels(source_positions(size, source, align_corners, dtype, device), source)
