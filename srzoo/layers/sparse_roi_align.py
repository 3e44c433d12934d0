"""RoIAlign on a CPU, as a product with a sparse matrix."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable


def sparse_roi_align(
    x: torch.Tensor, regions: torch.Tensor, size: int, scale: float, sampling: int, aligned: bool
) -> torch.Tensor:
    """What ``torchvision.ops.roi_align`` computes, several times faster on a CPU: most of all its backward pass.

    Each output is a weighted sum of a few pixels of its map, so that all of them together are a sparse matrix, with a
    row for each cell, times the pixels; the gradient is the transposed matrix times that of the output. With a pixel's
    channels side by side in memory, both are additions of short vectors. torchvision adds each number on its own.

    Args:
        x: ``(N, C, H, W)`` float32 or float64 on a CPU, fastest in channels_last.
        regions: ``(R, 5)`` image, x0, y0, x1, y1 of the dtype of ``x``, in pixels of the input. They get no gradient.
        size: side of the output.
        scale: of the map, in pixels of the map by pixels of the input.
        sampling: samples per cell along each axis, at least 1.
        aligned: subtract half a pixel from the coordinates.

    Returns:
        ``(R, C, size, size)``, in channels_last.
    """
    return _SparseRoIAlign.apply(x, regions, size, scale, sampling, aligned)


class _SparseRoIAlign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x, regions, size, scale, sampling, aligned):
        n, c, h, w = x.shape
        entries, weights = _matrix(regions, size, scale, sampling, aligned, (h, w))
        ctx.save_for_backward(entries, weights)
        ctx.shape = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(n * h * w, c)
        cells = _product(entries, weights, len(regions) * size * size, pixels)
        return cells.view(len(regions), size, size, c).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad):
        entries, weights = ctx.saved_tensors
        n, c, h, w = ctx.shape
        cells = grad.permute(0, 2, 3, 1).reshape(-1, c)
        pixels = _product(entries.flip(0), weights, n * h * w, cells)
        return pixels.view(n, h, w, c).permute(0, 3, 1, 2), None, None, None, None, None


def _product(entries: torch.Tensor, weights: torch.Tensor, rows: int, dense: torch.Tensor) -> torch.Tensor:
    """The sparse matrix of these entries times ``dense``."""
    sparse = torch.sparse_coo_tensor(entries, weights, (rows, len(dense)), check_invariants=False)
    with torch.autocast("cpu", enabled=False):
        return torch.mm(sparse, dense)


def _matrix(
    regions: torch.Tensor, size: int, scale: float, sampling: int, aligned: bool, shape: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Entries ``(2, E)`` int64 and weights ``(E,)`` of a matrix from the pixels of all maps to the cells of regions."""
    height, width = shape
    image = regions[:, 0].long()
    start, end = (regions[:, 1:] * scale - (0.5 if aligned else 0)).split(2, 1)
    sides = end - start if aligned else (end - start).clamp(min=1)
    (left, top), (across, down) = start.unbind(1), sides.unbind(1)
    rows, by_row = _axis(top, down, size, sampling, height)
    columns, by_column = _axis(left, across, size, sampling, width)
    weights = (by_row[:, :, None, :, None] * by_column[:, None, :, None, :]).flatten()
    rows = (image[:, None, None] * height + rows) * width
    pixels = (rows[:, :, None, :, None] + columns[:, None, :, None, :]).flatten()
    used = weights.nonzero().squeeze(1)
    cells = used.div(rows.shape[-1] * columns.shape[-1], rounding_mode="floor")
    return torch.stack([cells, pixels[used]]), weights[used]


def _axis(
    start: torch.Tensor, side: torch.Tensor, size: int, sampling: int, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixels that each cell reads along one axis, and their weights, both ``(R, size, 2 sampling)``."""
    at = (torch.arange(size * sampling).to(start) + 0.5) * (side / (size * sampling))[:, None] + start[:, None]
    is_near = (at >= -1) & (at <= length)  # elsewhere zero is read, and the border's pixel up to there
    at = at.clamp(0, length - 1)
    low = at.long().clamp(0, length - 1)  # again, as NaN becomes any integer
    high = (low + 1).clamp(max=length - 1)
    part = at - low
    weights = torch.stack([1 - part, part], -1).where(is_near[..., None], 0) / sampling
    pixels = torch.stack([low, high], -1).view(-1, size, 2 * sampling)
    weights = weights.view_as(pixels).clone()
    # Samples are often less than a pixel apart: one entry for a pixel halves the matrix or better.
    for later in range(1, 2 * sampling):
        for earlier in range(later):
            moved = weights[..., later].where(pixels[..., earlier] == pixels[..., later], 0)
            weights[..., earlier] += moved
            weights[..., later] -= moved
    return pixels, weights
