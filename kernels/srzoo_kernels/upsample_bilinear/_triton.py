"""Bilinear resize in one kernel that writes each output once, in whole lines of memory."""

import math

import torch
import triton
import triton.language as tl

from ..bilinear._triton import WARPS, interpolate_tile, plan_tiles, tile_outputs, tile_positions
from ..bilinear.tiles import with_near_columns
from ..launch import MOST_PROGRAMS, Launch, Target
from ..prepared.plan import launched

_SPAN = 4  # source rows of a tile at most, so that it has eight rows, whose stores are wide, for a factor of 4, too
_PROGRAMS = 64  # per processor, several times as many as fit at once, so that all finish at about the same time


@triton.jit
def _resize_kernel(
    logits,  # (N, K, h, w)
    resized,  # (N, K, H, W), contiguous
    scale_y: tl.float64,
    scale_x: tl.float64,
    classes,
    h,
    w,
    height,
    width,
    stride_n,
    stride_k,
    stride_h,
    stride_w,
    groups,
    per_group,
    ALIGN_CORNERS: tl.constexpr,
    ROWS: tl.constexpr,
    SPAN: tl.constexpr,
    COLUMNS: tl.constexpr,
    DTYPE: tl.constexpr,
):
    """A tile of outputs of each of ``per_group`` classes.

    The scales are `source_scale`, the sizes those of ``logits`` and ``resized``, the strides those of ``logits`` in
    elements. A tile has ``ROWS x COLUMNS`` outputs and reads ``SPAN`` source rows, and computes in ``DTYPE``.
    """
    image = (tl.program_id(2) // groups).to(tl.int64)
    first = tl.program_id(2) % groups * per_group
    y, x, row, low_y, high_y, down, left, right, across = tile_positions(
        scale_y, scale_x, h, w, stride_w, ALIGN_CORNERS, ROWS, COLUMNS, DTYPE
    )
    plane = logits + image * stride_n + first.to(tl.int64) * stride_k
    for k in range(first, tl.minimum(first + per_group, classes)):
        value = interpolate_tile(plane, row, low_y, high_y, down, left, right, across, h, stride_h, SPAN, DTYPE)
        out, mask = tile_outputs(image * classes + k, y, x, height, width)
        tl.store(resized + out, value.to(resized.dtype.element_ty), mask)
        plane += stride_k


def classes_per_program(classes: int, tiles: int, target: Target) -> int:
    """Classes of which a program computes its tile, for ``tiles`` of them in all images.

    As many as leave enough programs for the device, since they share the tile's positions.
    """
    groups = min(classes, -(-_PROGRAMS * target.processors // tiles))
    return -(-classes // groups)


def plan_upsample_bilinear(
    logits: torch.Tensor, height: int, width: int, align_corners: bool, target: Target
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The launch that fills the result of `op._resize`."""
    n, k = logits.shape[:2]
    resized = logits.new_empty((n, k, height, width))
    if n == 0:
        return [], (resized,)
    (columns, rows, _), arguments, constants = plan_tiles(logits, (height, width), align_corners, _SPAN)
    per_group = classes_per_program(k, math.prod((columns, rows, n)), target)
    per_group = max(per_group, -(-k // max(1, MOST_PROGRAMS // n)))
    groups = -(-k // per_group)
    arguments |= {"logits": logits, "resized": resized, "groups": groups, "per_group": per_group}
    return [Launch(_resize_kernel, (columns, rows, groups * n), arguments, constants, WARPS)], (resized,)


def upsample_bilinear_triton(logits: torch.Tensor, height: int, width: int, align_corners: bool) -> torch.Tensor:
    """Launch the kernel; arguments and result as `op._resize` has them."""
    options = (height, width, align_corners)
    return launched(plan_upsample_bilinear, (logits,), *options, laid_out=with_near_columns)[0]
