"""The bilinear resize inside a kernel: a tile of output pixels from the source pixels around them.

A program owns ``ROWS x COLUMNS`` outputs of an image and visits the classes one after the other.
"""

import math

import torch
import triton
import triton.language as tl

from ..layout import accumulation_dtype
from .cells import source_scale
from .tiles import tile_rows

TILE_COLUMNS = 128
WARPS = 4  # so that a thread owns one column of the tile, whose source rows it interpolates along the width once
# For tl.exp2: tl.exp takes three instructions more, to tell denormal numbers from zero.
LOG2_E = tl.constexpr(math.log2(math.e))


def triton_dtype(dtype: torch.dtype) -> tl.dtype:
    """The accumulator's type."""
    return tl.float64 if dtype == torch.float64 else tl.float32


@triton.jit
def source_position(index, scale, source, ALIGN_CORNERS: tl.constexpr, DTYPE: tl.constexpr):
    """The two source pixels of the outputs ``index`` along one axis, and the share of the second."""
    factor = tl.full((), scale, DTYPE)
    if ALIGN_CORNERS:
        position = index.to(DTYPE) * factor
    else:
        # Fused, as in ATen: rounding twice would move a position near 256 by 3e-5.
        position = tl.maximum(tl.fma(index.to(DTYPE) + 0.5, factor, tl.full((), -0.5, DTYPE)), 0.0)
    low = tl.minimum(position.to(tl.int32), source - 1)
    return low, tl.minimum(low + 1, source - 1), position - low.to(DTYPE)


@triton.jit
def tile_positions(
    scale_y, scale_x, h, w, stride_w,
    ALIGN_CORNERS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """The outputs of this program's tile, and what `interpolate_tile` has to know about where they lie.

    Returns:
        ``y`` ``(ROWS,)`` and ``x`` ``(COLUMNS,)``, the outputs; the first source row of all; ``low_y``, ``high_y`` and
        ``down`` ``(ROWS,)``, the source rows of each output row and the share of the second; ``left``, ``right`` and
        ``across`` ``(COLUMNS,)``, the same of the columns, as offsets in a source row.
    """
    y = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    x = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    row, _, _ = source_position(tl.program_id(1) * ROWS, scale_y, h, ALIGN_CORNERS, DTYPE)
    low_y, high_y, down = source_position(y, scale_y, h, ALIGN_CORNERS, DTYPE)
    low_x, high_x, across = source_position(x, scale_x, w, ALIGN_CORNERS, DTYPE)
    return y, x, row, low_y, high_y, down, low_x * stride_w, high_x * stride_w, across


@triton.jit
def tile_outputs(image, y, x, height, width):
    """Offsets ``(ROWS, COLUMNS)`` of the outputs in a contiguous ``(N, H, W)`` plane, and which of them exist."""
    out = (image * height + y.to(tl.int64)[:, None]) * width + x[None, :]
    return out, (y < height)[:, None] & (x < width)[None, :]


@triton.jit
def interpolate_tile(
    plane, row, low_y, high_y, down, left, right, across, h, stride_h, SPAN: tl.constexpr, DTYPE: tl.constexpr
):
    """One class of a tile of outputs ``(rows, columns)``, from ``SPAN`` source rows from ``row`` on.

    ``left`` and ``right`` are the columns' offsets in a source row. A masked column reads the last one's pixels.
    """
    value = tl.zeros((low_y.shape[0], left.shape[0]), DTYPE)
    for step in tl.static_range(SPAN):
        line = plane + tl.minimum(row + step, h - 1).to(tl.int64) * stride_h  # beyond 2^31 in a large channels_last map
        first = tl.load(line + left).to(DTYPE)
        second = tl.load(line + right).to(DTYPE)
        mixed = first + across * (second - first)
        share = tl.where(low_y == row + step, 1.0 - down, 0.0) + tl.where(high_y == row + step, down, 0.0)
        value += share.to(DTYPE)[:, None] * mixed[None, :]
    return value


@triton.jit
def gather_tile(planes, row, low_y, high_y, down, left, right, across, stride_h, DTYPE: tl.constexpr):
    """As `interpolate_tile`, and rounded as it is, with a plane ``(rows, columns)`` for each output."""
    line = planes + row.to(tl.int64) * stride_h
    low, high = (low_y - row) * stride_h, (high_y - row) * stride_h  # of few rows, so in 32 bits
    low_left, low_right = low[:, None] + left[None, :], low[:, None] + right[None, :]
    high_left, high_right = high[:, None] + left[None, :], high[:, None] + right[None, :]
    first = tl.load(line + low_left).to(DTYPE)
    upper = first + across[None, :] * (tl.load(line + low_right).to(DTYPE) - first)
    first = tl.load(line + high_left).to(DTYPE)
    lower = first + across[None, :] * (tl.load(line + high_right).to(DTYPE) - first)
    down = tl.where(low_y == high_y, 0.0, down).to(DTYPE)[:, None]  # there both shares are the same row's
    return down * lower + (1.0 - down) * upper  # the first product is fused with the sum, as there


@triton.jit
def outputs_of_cell(cell, outputs, source, size, ALIGN_CORNERS: tl.constexpr):
    """First output, and the one after the last, that may lie between this source pixel and the next."""
    start = (cell + 0.5) * outputs - 0.5
    if ALIGN_CORNERS:
        start = cell * outputs
    stop = start + outputs
    # A hundredth of an output covers the rounding, and beyond 10^4 outputs some of float32's steps do. What lies beyond
    # the outermost centres belongs to them.
    first = tl.where(cell == 0, 0, tl.ceil(start - start * 1e-6 - 0.01).to(tl.int32))
    end = tl.ceil(stop + stop * 1e-6 + 0.01).to(tl.int32)
    return first, tl.where(cell >= source - 1, size, tl.minimum(end, size))


def outputs_per_pixel(size: int, source: int, align_corners: bool) -> float:
    """Output pixels per source pixel, the inverse of `source_scale`."""
    if not align_corners:
        return size / source
    return (size - 1) / (source - 1) if source > 1 and size > 1 else 1.0


def plan_tiles(logits: torch.Tensor, size: tuple[int, int], align_corners: bool, most: int = 3):
    """Grid, arguments and constants of a kernel that visits every output pixel, a tile of `tile_rows` at a time."""
    n, h = logits.shape[0], logits.shape[2]
    rows, span = tile_rows(size[0], h, most)
    constants = {
        "ALIGN_CORNERS": align_corners,
        "ROWS": rows,
        "SPAN": span,
        "COLUMNS": TILE_COLUMNS,
        "DTYPE": triton_dtype(accumulation_dtype(logits)),
    }
    grid = triton.cdiv(size[1], TILE_COLUMNS), triton.cdiv(size[0], rows), n
    return grid, geometry(logits, size, align_corners), constants


def geometry(logits: torch.Tensor, size: tuple[int, int], align_corners: bool) -> dict[str, int | float]:
    """The kernels' arguments about a resize of ``logits`` to ``size``."""
    _, k, h, w = logits.shape
    height, width = size
    scales = {"scale_y": source_scale(height, h, align_corners), "scale_x": source_scale(width, w, align_corners)}
    strides = dict(zip(("stride_n", "stride_k", "stride_h", "stride_w"), logits.stride(), strict=True))
    return {**scales, "classes": k, "h": h, "w": w, "height": height, "width": width, **strides}
