"""Bilinear resize and argmax in one kernel: the running maximum of a tile of output pixels stays in registers."""

import torch
import triton
import triton.language as tl

from ..launch import Launch, run
from ..layout import accumulation_dtype
from .op import label_dtype

TILE_COLUMNS = 128
WARPS = 4  # so that a thread owns one column of the tile, whose source rows it interpolates along the width once
_MOST_ROWS = 8


def tile_rows(height: int, source_height: int) -> tuple[int, int]:
    """Output rows of a tile and source rows it reads: as many outputs as three source rows are sure to serve."""
    rows = _MOST_ROWS
    while rows > 1 and (rows - 1) * source_height >= height:
        rows //= 2
    return rows, 2 if rows == 1 else 3


def source_scale(size: int, source: int, align_corners: bool) -> float:
    """Source pixels per output pixel, as ``interpolate`` defines them."""
    if not align_corners:
        return source / size
    return (source - 1) / (size - 1) if size > 1 else 0.0


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
def interpolate_tile(
    plane, row, low_y, high_y, down, left, right, across, h, stride_h, SPAN: tl.constexpr, DTYPE: tl.constexpr
):
    """One class of a tile of outputs ``(rows, columns)``, from ``SPAN`` source rows from ``row`` on.

    ``left`` and ``right`` are the columns' offsets in a source row. A masked column reads the last one's pixels.
    """
    value = tl.zeros((low_y.shape[0], left.shape[0]), DTYPE)
    for step in tl.static_range(SPAN):
        line = plane + tl.minimum(row + step, h - 1) * stride_h
        first = tl.load(line + left).to(DTYPE)
        second = tl.load(line + right).to(DTYPE)
        mixed = first + across * (second - first)
        share = tl.where(low_y == row + step, 1.0 - down, 0.0) + tl.where(high_y == row + step, down, 0.0)
        value += share.to(DTYPE)[:, None] * mixed[None, :]
    return value


@triton.jit
def _argmax_kernel(
    logits, labels, probability, scale_y: tl.float64, scale_x: tl.float64, classes, h, w, height, width,
    stride_n, stride_k, stride_h, stride_w,
    ALIGN_CORNERS: tl.constexpr, ROWS: tl.constexpr, SPAN: tl.constexpr, COLUMNS: tl.constexpr,
    DTYPE: tl.constexpr, PROBABILITY: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(2).to(tl.int64)
    y = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    x = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    row, _, _ = source_position(tl.program_id(1) * ROWS, scale_y, h, ALIGN_CORNERS, DTYPE)
    low_y, high_y, down = source_position(y, scale_y, h, ALIGN_CORNERS, DTYPE)
    low_x, high_x, across = source_position(x, scale_x, w, ALIGN_CORNERS, DTYPE)
    left, right = low_x * stride_w, high_x * stride_w

    plane = logits + image * stride_n
    best = tl.full((ROWS, COLUMNS), float("-inf"), DTYPE)
    winner = tl.zeros((ROWS, COLUMNS), tl.int32)
    total = tl.zeros((ROWS, COLUMNS), DTYPE)  # of exp(value - best), for the probability
    for k in range(classes):
        value = interpolate_tile(plane, row, low_y, high_y, down, left, right, across, h, stride_h, SPAN, DTYPE)
        better = value > best
        if PROBABILITY:
            # The first value meets best = -inf, and exp(-inf) = 0.
            smaller = tl.exp(-tl.abs(value - best))
            total = tl.where(better, total * smaller + 1.0, total + smaller)
        best = tl.where(better, value, best)
        winner = tl.where(better, k, winner)
        plane += stride_k

    out = (image * height + y.to(tl.int64)[:, None]) * width + x[None, :]
    mask = (y < height)[:, None] & (x < width)[None, :]
    tl.store(labels + out, winner.to(labels.dtype.element_ty), mask)
    if PROBABILITY:
        tl.store(probability + out, (1.0 / total).to(tl.float32), mask)


def plan_upsample_argmax(
    logits: torch.Tensor, height: int, width: int, align_corners: bool, return_probability: bool
) -> tuple[Launch, torch.Tensor, torch.Tensor]:
    """The launch that fills the labels and, if wanted, the probability; as `op._upsample_argmax` has them."""
    n, k = logits.shape[:2]
    labels = logits.new_empty((n, height, width), dtype=label_dtype(k))
    probability = logits.new_empty((n, height, width) if return_probability else (0,), dtype=torch.float32)
    tensors = {"logits": logits, "labels": labels, "probability": probability}
    grid, arguments, constants = plan_tiles(logits, (height, width), align_corners)
    constants["PROBABILITY"] = return_probability
    return Launch(_argmax_kernel, grid, tensors | arguments, constants, WARPS), labels, probability


def plan_tiles(logits: torch.Tensor, size: tuple[int, int], align_corners: bool):
    """Grid, arguments and constants of a kernel that visits every output pixel, a tile at a time."""
    n, h = logits.shape[0], logits.shape[2]
    rows, span = tile_rows(size[0], h)
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


def upsample_argmax_triton(
    logits: torch.Tensor, height: int, width: int, align_corners: bool, return_probability: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Launch the kernel; arguments and results as `op._upsample_argmax` has them."""
    launch, labels, probability = plan_upsample_argmax(logits, height, width, align_corners, return_probability)
    if logits.shape[0] > 0:
        run([launch], logits)
    return labels, probability
