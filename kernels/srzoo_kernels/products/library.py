"""The product of a matrix with every pixel by PyTorch's own, for devices that Triton does not serve."""

import torch

from ..layout import dense, empty_map, is_channels_last


def multiplies_slowly(x: torch.Tensor) -> bool:
    """float16 on a CPU: oneDNN has no fast product for it without AVX512-FP16, unlike for bfloat16."""
    return x.dtype == torch.float16 and not x.is_cuda


def channel_map(
    x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None = None, base: torch.Tensor | None = None
) -> torch.Tensor:
    """``base + M x + b`` at every pixel, computed in ``x``'s dtype, and float32 where that multiplies slowly.

    Args:
        x: ``(N, C, H, W)``.
        matrix: ``(N, C, C)``.
        bias: ``(N, C)`` or None.
        base: a map like ``x``, or None.

    Returns:
        A map of its own, not a view, of ``x``'s dtype and memory format (contiguous unless channels_last).
    """
    x = dense(x)
    # Written into a map of its own: autograd refuses a view as the result, once something changes it in place.
    y = empty_map(x)
    wide = torch.float32 if multiplies_slowly(x) else x.dtype
    last = is_channels_last(x)
    pixels, out = (_in_columns(each, last).to(wide) for each in (x, y))
    factors = (pixels, matrix.to(wide).mT) if last else (matrix.to(wide), pixels)
    start = None if base is None else _in_columns(base, last).to(wide)
    offset = None if bias is None else bias.to(wide).unsqueeze(1 if last else 2)
    if start is None and offset is None:
        torch.bmm(*factors, out=out)
    elif start is None or offset is None:
        torch.baddbmm(offset if start is None else start, *factors, out=out)
    else:
        torch.add(start, offset, out=out).baddbmm_(*factors)
    if wide != x.dtype:
        _in_columns(y, last).copy_(out)
    return y


def _in_columns(x: torch.Tensor, last: bool) -> torch.Tensor:
    """A map as ``(N, HW, C)`` if channels are to come ``last``, else as ``(N, C, HW)``; a view if it lies so."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(n, h * w, c) if last else x.reshape(n, c, h * w)
