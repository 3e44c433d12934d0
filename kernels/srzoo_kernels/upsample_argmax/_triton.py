"""Bilinear resize and argmax in one kernel: the running maximum of a tile of output pixels stays in registers."""

import torch
import triton
import triton.language as tl

from ..bilinear._triton import LOG2_E, WARPS, interpolate_tile, plan_tiles, tile_outputs, tile_positions
from ..bilinear.tiles import with_near_columns
from ..launch import Launch, Target
from ..layout import label_dtype
from ..prepared.plan import launched


@triton.jit
def _argmax_kernel(
    logits,  # (N, K, h, w)
    labels,  # (N, H, W) uint8 or int64
    probability,  # (N, H, W) float32
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
    ALIGN_CORNERS: tl.constexpr,
    ROWS: tl.constexpr,
    SPAN: tl.constexpr,
    COLUMNS: tl.constexpr,
    DTYPE: tl.constexpr,
    PROBABILITY: tl.constexpr,
):
    """``labels_p = argmax_k x_pk`` of the resized logits ``x``, and for ``PROBABILITY`` the softmax there.

    With ``best_p = max_k x_pk`` that is ``1 / sum_k exp(x_pk - best_p)``. One pass over the classes keeps the maximum,
    its class and the sum of a tile of outputs ``p`` in registers; where the maximum rises, the sum is scaled down.

    The scales are `source_scale`, the sizes those of ``logits`` and ``labels``, the strides those of ``logits`` in
    elements. A tile has ``ROWS x COLUMNS`` outputs and reads ``SPAN`` source rows, and computes in ``DTYPE``.
    """
    image = tl.program_id(2).to(tl.int64)
    y, x, row, low_y, high_y, down, left, right, across = tile_positions(
        scale_y, scale_x, h, w, stride_w, ALIGN_CORNERS, ROWS, COLUMNS, DTYPE
    )

    plane = logits + image * stride_n
    best = tl.full((ROWS, COLUMNS), float("-inf"), DTYPE)
    winner = tl.zeros((ROWS, COLUMNS), tl.int32)
    total = tl.zeros((ROWS, COLUMNS), DTYPE)  # of exp(value - best), for the probability
    for k in range(classes):
        value = interpolate_tile(plane, row, low_y, high_y, down, left, right, across, h, stride_h, SPAN, DTYPE)
        better = value > best
        if PROBABILITY:
            # The first value meets best = -inf, and exp(-inf) = 0.
            smaller = tl.exp2(tl.abs(value - best) * -LOG2_E)
            total = tl.where(better, total * smaller + 1.0, total + smaller)
        best = tl.where(better, value, best)
        winner = tl.where(better, k, winner)
        plane += stride_k

    out, mask = tile_outputs(image, y, x, height, width)
    tl.store(labels + out, winner.to(labels.dtype.element_ty), mask)
    if PROBABILITY:
        tl.store(probability + out, (1.0 / total).to(tl.float32), mask)


def plan_upsample_argmax(
    logits: torch.Tensor, height: int, width: int, align_corners: bool, return_probability: bool, target: Target
) -> tuple[list[Launch], tuple[torch.Tensor, torch.Tensor]]:
    """The launch that fills the labels and, if wanted, the probability; as `op._labels` has them."""
    n, k = logits.shape[:2]
    labels = logits.new_empty((n, height, width), dtype=label_dtype(k))
    probability = logits.new_empty((n, height, width) if return_probability else (0,), dtype=torch.float32)
    tensors = {"logits": logits, "labels": labels, "probability": probability}
    grid, arguments, constants = plan_tiles(logits, (height, width), align_corners)
    constants["PROBABILITY"] = return_probability
    launches = [Launch(_argmax_kernel, grid, tensors | arguments, constants, WARPS)] if n > 0 else []
    return launches, (labels, probability)


def upsample_argmax_triton(
    logits: torch.Tensor, height: int, width: int, align_corners: bool, return_probability: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Launch the kernel; arguments and results as `op._labels` has them."""
    return launched(
        plan_upsample_argmax, (logits,), height, width, align_corners, return_probability, laid_out=with_near_columns
    )
