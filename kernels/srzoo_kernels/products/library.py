"""The product of a matrix with every pixel by PyTorch's own, for devices that Triton does not serve."""

import torch

from ..layout import dense, empty_map, is_channels_last


def multiplies_slowly(x: torch.Tensor) -> bool:
    """float16 on a CPU: oneDNN has no fast product for it without AVX512-FP16, unlike for bfloat16."""
    return x.dtype == torch.float16 and not x.is_cuda


def scaled(matrix: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A matrix ``(N, C, C)`` in ``dtype``, and what each image's has to be multiplied by, ``(N,)`` float32 or None.

    For float16: averaged over the pixels, gradients of ``S`` are often below its smallest number.
    """
    scale = None
    if dtype == torch.float16 and matrix.dtype != dtype:
        scale = matrix.abs().amax((1, 2)).float().clamp_min(torch.finfo(torch.float32).tiny)
        matrix = matrix / scale[:, None, None]
    return matrix.to(dtype), scale


def channel_map(
    x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None = None, base: torch.Tensor | None = None
) -> torch.Tensor:
    """``base + M x + b`` at every pixel, computed in ``x``'s dtype, and float32 where that multiplies slowly.

    Args:
        x: ``(N, C, H, W)``.
        matrix: ``(N, C, C)``; `scaled` if it is wider than ``x``.
        bias: ``(N, C)`` or None.
        base: a map like ``x``, or None; may be ``x``.

    Returns:
        A map of its own, not a view, of ``x``'s dtype and memory format (contiguous unless channels_last).
    """
    of_itself, x = base is x, dense(x)
    # Written into a map of its own: autograd refuses a view as the result, once something changes it in place.
    y = empty_map(x)
    wide = torch.float32 if multiplies_slowly(x) else x.dtype
    last = is_channels_last(x)
    pixels, found = _in_columns(x, last).to(wide), _in_columns(y, last)
    out = found if wide == x.dtype else torch.empty_like(found, dtype=wide)
    matrix, scale = scaled(matrix, wide)
    factors = (pixels, matrix.mT) if last else (matrix, pixels)
    start = pixels if of_itself else None if base is None else _in_columns(base, last).to(wide)
    offset = None if bias is None else bias.to(wide).unsqueeze(1 if last else 2)
    added = [each for each in (start, offset) if each is not None]
    if scale is not None or not added:
        torch.bmm(*factors, out=out)
        if scale is not None:
            out.mul_(scale[:, None, None])
        for each in added:
            out.add_(each)
    elif len(added) == 1:
        torch.baddbmm(*added, *factors, out=out)
    else:
        torch.add(*added, out=out).baddbmm_(*factors)
    if out is not found:
        found.copy_(out)
    return y


def _in_columns(x: torch.Tensor, last: bool) -> torch.Tensor:
    """A map as ``(N, HW, C)`` if channels are to come ``last``, else as ``(N, C, HW)``; a view if it lies so."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(n, h * w, c) if last else x.reshape(n, c, h * w)
