"""The loss and its gradient, which both interpolate the logits again rather than store them.

With ``x_pk`` the resized logits at pixel ``p``, ``y`` its label, ``w`` the weights of the ``K`` classes, ``s`` the
smoothing and ``L_p = log sum_k exp x_pk``, summed over the labelled pixels:

    loss     = sum_p [(1 - s) w_y (L_p - x_py) + s / K sum_k w_k (L_p - x_pk)] / sum_p w_y
    slope_pk = exp(x_pk - L_p) ((1 - s) w_y + s / K sum_j w_j) - (1 - s) w_y [k = y] - s / K w_k

The gradient by ``x_pk`` is ``slope_pk / sum_p w_y``; the logits get it through the resize, which is linear.

The first kernel keeps the running softmax denominator of a tile of output pixels in registers, and writes its logarithm
(one plane, whatever the classes) and two sums a tile. In the second a cell, the outputs between four source pixels,
sums what it gives to each of them; the third adds up a source pixel's four cells. No atomics: the same input gives the
same bits.
"""

import math

import torch
import triton
import triton.language as tl

from ..bilinear._triton import (
    WARPS,
    geometry,
    interpolate_tile,
    outputs_of_cell,
    outputs_per_pixel,
    plan_tiles,
    source_position,
    tile_outputs,
    tile_positions,
    triton_dtype,
)
from ..launch import Launch, run
from ..layout import accumulation_dtype
from .labels import IGNORED, class_ids, hard_pixels

GRADIENT_COLUMNS = 32
GRADIENT_WARPS = 1  # so that a thread owns one column of cells, and a pixel's weights serve every class of its block
SUM_PIXELS = 512
_WEIGHTS_COST = 6  # what those weights take, in classes


def classes_per_block(classes: int) -> int:
    """Classes of a program over cells: more share a pixel's weights, fewer pad the last block less; 16 would spill."""
    return min((8, 4), key=lambda block: triton.cdiv(classes, block) * (block + _WEIGHTS_COST))


@triton.jit
def _loss_kernel(
    logits,  # (N, K, h, w)
    labels,  # (N, H, W) int64, negative where ignored
    weight,  # (K,)
    log_totals,  # (N, H, W)
    probability,  # (N, H, W)
    sums,  # (tiles, 2)
    scale_y: tl.float64,
    scale_x: tl.float64,
    smoothing: tl.float64,
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
    """``L_p`` of every pixel, and a tile's sums of the loss's numerator and of ``w_y``; ``weight`` is in ``DTYPE``.

    For ``PROBABILITY``, which mining asks for, instead the true class's softmax ``exp(x_py - L_p)`` alone.
    One pass over the classes keeps ``max_k x_pk`` and ``sum_k exp(x_pk - max)`` of a tile of outputs in registers.

    The scales are `source_scale`, the sizes those of ``logits`` and ``labels``, the strides those of ``logits`` in
    elements. A tile has ``ROWS x COLUMNS`` outputs and reads ``SPAN`` source rows.
    """
    image = tl.program_id(2).to(tl.int64)
    y, x, row, low_y, high_y, down, left, right, across = tile_positions(
        scale_y, scale_x, h, w, stride_w, ALIGN_CORNERS, ROWS, COLUMNS, DTYPE
    )
    out, mask = tile_outputs(image, y, x, height, width)
    ids = tl.load(labels + out, mask, -1).to(tl.int32)

    plane = logits + image * stride_n
    best = tl.full((ROWS, COLUMNS), float("-inf"), DTYPE)
    total = tl.zeros((ROWS, COLUMNS), DTYPE)
    true = tl.zeros((ROWS, COLUMNS), DTYPE)
    weighted = tl.zeros((ROWS, COLUMNS), DTYPE)
    weights = tl.zeros((), DTYPE)
    share = tl.zeros((ROWS, COLUMNS), DTYPE)
    for k in range(classes):
        value = interpolate_tile(plane, row, low_y, high_y, down, left, right, across, h, stride_h, SPAN, DTYPE)
        smaller = tl.exp(-tl.abs(value - best))
        total = tl.where(value > best, total * smaller + 1.0, total + smaller)
        best = tl.maximum(best, value)
        class_weight = tl.load(weight + k).to(DTYPE)
        true = tl.where(ids == k, value, true)
        share = tl.where(ids == k, class_weight, share)
        weighted += class_weight * value
        weights += class_weight
        plane += stride_k

    log_total = tl.log(total)  # L_p - best
    if PROBABILITY:
        tl.store(probability + out, tl.exp(true - best - log_total), mask)
    else:
        smooth = tl.full((), smoothing, DTYPE)
        loss = (1.0 - smooth) * share * (best - true + log_total)
        loss += smooth / classes * (weights * (best + log_total) - weighted)
        # An ignored pixel's share of every softmax gradient becomes exp(x - inf) = 0.
        tl.store(log_totals + out, tl.where(ids >= 0, best + log_total, float("inf")), mask)
        tile = (image * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
        tl.store(sums + tile * 2, tl.sum(tl.where(ids >= 0, loss, 0.0)))
        tl.store(sums + tile * 2 + 1, tl.sum(share))


@triton.jit
def _cell_gradient_kernel(
    logits,  # (N, K, h, w)
    labels,  # (N, H, W) int64, negative where ignored
    weight,  # (K,)
    log_totals,  # (N, H, W)
    totals,  # (2,): the sum of weight, and the loss's divisor
    corners,  # (4, N, K, h, w)
    scale_y: tl.float64,
    scale_x: tl.float64,
    outputs_y: tl.float32,
    outputs_x: tl.float32,
    smoothing: tl.float64,
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
    CLASSES: tl.constexpr,
    COLUMNS: tl.constexpr,
    DTYPE: tl.constexpr,
):
    """What the outputs of each cell give to its four source pixels: ``corners[c] = sum_p a_c(p) slope_pk``.

    Cell ``(i, j)`` holds the outputs ``p`` between the source pixels ``(i, j)`` and ``(i + 1, j + 1)``, ``c`` counts
    its corners (upper left, upper right, lower left, lower right), and ``a_c(p)`` is the corner's share of ``p``. A
    program takes ``COLUMNS`` cells of a source row and ``CLASSES`` classes, and visits the outputs of its cells.

    The scales are `source_scale`, ``outputs_y`` and ``outputs_x`` `outputs_per_pixel`, the sizes those of ``logits``
    and ``labels``, the strides those of ``logits`` in elements.
    """
    tiles = tl.cdiv(w, COLUMNS)
    i = tl.program_id(0) // tiles
    j = (tl.program_id(0) % tiles) * COLUMNS + tl.arange(0, COLUMNS)
    k = tl.program_id(1) * CLASSES + tl.arange(0, CLASSES)
    image = tl.program_id(2).to(tl.int64)
    plane = logits + image * stride_n + tl.minimum(k, classes - 1).to(tl.int64)[:, None] * stride_k
    # The cells' corners, (CLASSES, COLUMNS) each.
    upper, lower = plane + i * stride_h, plane + tl.minimum(i + 1, h - 1) * stride_h
    left, right = tl.minimum(j, w - 1) * stride_w, tl.minimum(j + 1, w - 1) * stride_w
    upper_left, upper_right = tl.load(upper + left[None, :]).to(DTYPE), tl.load(upper + right[None, :]).to(DTYPE)
    lower_left, lower_right = tl.load(lower + left[None, :]).to(DTYPE), tl.load(lower + right[None, :]).to(DTYPE)
    class_weight = tl.load(weight + k, k < classes, 0.0).to(DTYPE)
    smooth = tl.full((), smoothing, DTYPE)
    weights = tl.load(totals)

    first_y, end_y = outputs_of_cell(i, outputs_y, h, height, ALIGN_CORNERS)
    first_x, end_x = outputs_of_cell(j, outputs_x, w, width, ALIGN_CORNERS)
    end_x = tl.where(j < w, end_x, first_x)
    most = tl.max(end_x - first_x)
    # What this cell's outputs give to its four corners.
    to_upper_left = tl.zeros((CLASSES, COLUMNS), DTYPE)
    to_upper_right = tl.zeros((CLASSES, COLUMNS), DTYPE)
    to_lower_left = tl.zeros((CLASSES, COLUMNS), DTYPE)
    to_lower_right = tl.zeros((CLASSES, COLUMNS), DTYPE)
    for down_by in range(end_y - first_y):
        y = first_y + down_by
        low_y, _below, down = source_position(y, scale_y, h, ALIGN_CORNERS, DTYPE)
        down = tl.where(i == h - 1, 0.0, down).to(DTYPE)  # there the lower corners are the upper ones
        start = upper_left + down * (lower_left - upper_left)
        stop = upper_right + down * (lower_right - upper_right)
        to_left = tl.zeros((CLASSES, COLUMNS), DTYPE)
        to_right = tl.zeros((CLASSES, COLUMNS), DTYPE)
        line = (image * height + y) * width
        for across_by in range(most):
            x = first_x + across_by
            low_x, _beside, across = source_position(x, scale_x, w, ALIGN_CORNERS, DTYPE)
            across = tl.where(j == w - 1, 0.0, across).to(DTYPE)
            inside = (x < end_x) & (low_x == j) & (low_y == i)
            ids = tl.load(labels + line + x, inside, -1).to(tl.int32)
            log_total = tl.load(log_totals + line + x, inside, float("inf"))
            # The slope of these outputs, (CLASSES, COLUMNS).
            true = (1.0 - smooth) * tl.load(weight + ids, ids >= 0, 0.0).to(DTYPE)
            every = tl.where(ids >= 0, smooth / classes, 0.0)
            value = start + across[None, :] * (stop - start)
            slope = tl.exp(value - log_total[None, :]) * (true + every * weights)[None, :]
            slope -= tl.where(ids[None, :] == k[:, None], true[None, :], 0.0)
            slope -= every[None, :] * class_weight[:, None]
            slope = tl.where(inside[None, :], slope, 0.0)
            to_right += across[None, :] * slope
            to_left += (1.0 - across)[None, :] * slope
        to_upper_left += (1.0 - down) * to_left
        to_upper_right += (1.0 - down) * to_right
        to_lower_left += down * to_left
        to_lower_right += down * to_right

    # Each corner's sums lie in a map of their own, at the cell's place.
    inside = (k < classes)[:, None] & (j < w)[None, :]
    out = corners + ((image * classes + k.to(tl.int64)[:, None]) * h + i) * w + j[None, :]
    size = tl.num_programs(2).to(tl.int64) * classes * h * w
    tl.store(out, to_upper_left, inside)
    tl.store(out + size, to_upper_right, inside)
    tl.store(out + 2 * size, to_lower_left, inside)
    tl.store(out + 3 * size, to_lower_right, inside)


@triton.jit
def _corner_sum_kernel(
    corners,  # (4, N, K, h, w)
    totals,  # (2,): the sum of weight, and the loss's divisor
    gradient,  # (N, K, h, w)
    classes,
    h,
    w,
    grad_stride_n,
    grad_stride_k,
    grad_stride_h,
    grad_stride_w,
    PIXELS: tl.constexpr,
):
    """The gradient of a source pixel: what its four cells give to it, over the divisor, or zero where that is zero.

    The pixel is the upper left corner of its own cell, and one of the others of the cells before and above.
    """
    k, image = tl.program_id(1), tl.program_id(2).to(tl.int64)
    index = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    i, j = index // w, index % w
    inside = index < h * w
    here = corners + (image * classes + k) * h * w + index
    size = tl.num_programs(2).to(tl.int64) * classes * h * w
    value = tl.load(here, inside, 0.0)
    value += tl.load(here + size - 1, inside & (j > 0), 0.0)
    value += tl.load(here + 2 * size - w, inside & (i > 0), 0.0)
    value += tl.load(here + 3 * size - w - 1, inside & (i > 0) & (j > 0), 0.0)
    divisor = tl.load(totals + 1)
    value = tl.where(divisor > 0, value, 0.0) / tl.where(divisor > 0, divisor, 1.0)
    out = gradient + image * grad_stride_n + k.to(tl.int64) * grad_stride_k + i * grad_stride_h + j * grad_stride_w
    tl.store(out, value, inside)


def plan_losses(
    logits: torch.Tensor, ids: torch.Tensor, weight: torch.Tensor, smoothing: float, align_corners: bool, mining: bool
) -> tuple[Launch, torch.Tensor, torch.Tensor]:
    """The launch over every output pixel, the plane it fills and its sums per tile of loss and of weight.

    The plane gets true-class probabilities for mining, else the logarithms of the softmax denominators.
    """
    grid, arguments, constants = plan_tiles(logits, ids.shape[1:], align_corners)
    plane = logits.new_empty(ids.shape, dtype=weight.dtype)
    sums = logits.new_empty((math.prod(grid), 2), dtype=weight.dtype)
    tensors = {"logits": logits, "labels": ids, "weight": weight, "log_totals": plane, "probability": plane}
    arguments |= {**tensors, "sums": sums, "smoothing": smoothing}
    return Launch(_loss_kernel, grid, arguments, constants | {"PROBABILITY": mining}, WARPS), plane, sums


def plan_gradient(
    logits: torch.Tensor,
    ids: torch.Tensor,
    weight: torch.Tensor,
    log_totals: torch.Tensor,
    divisor: torch.Tensor,
    smoothing: float,
    align_corners: bool,
) -> tuple[list[Launch], torch.Tensor]:
    """The launches that fill the gradient of ``logits``, given the plane of `plan_losses` and the sum of weights."""
    n, k, h, w = logits.shape
    height, width = ids.shape[1:]
    corners = logits.new_empty((4, n, k, h, w), dtype=weight.dtype)
    gradient = torch.empty_like(logits, dtype=weight.dtype)
    totals = torch.stack([weight.sum(), divisor]).to(weight.dtype)
    arguments = {
        "logits": logits,
        "labels": ids,
        "weight": weight,
        "log_totals": log_totals,
        "totals": totals,
        "corners": corners,
        "outputs_y": outputs_per_pixel(height, h, align_corners),
        "outputs_x": outputs_per_pixel(width, w, align_corners),
        "smoothing": smoothing,
        **geometry(logits, (height, width), align_corners),
    }
    constants = {
        "ALIGN_CORNERS": align_corners,
        "CLASSES": classes_per_block(k),
        "COLUMNS": GRADIENT_COLUMNS,
        "DTYPE": triton_dtype(weight.dtype),
    }
    grid = h * triton.cdiv(w, GRADIENT_COLUMNS), triton.cdiv(k, constants["CLASSES"]), n
    cells = Launch(_cell_gradient_kernel, grid, arguments, constants, GRADIENT_WARPS)
    strides = zip(("grad_stride_n", "grad_stride_k", "grad_stride_h", "grad_stride_w"), gradient.stride(), strict=True)
    arguments = {"corners": corners, "totals": totals, "gradient": gradient, "classes": k, "h": h, "w": w}
    grid = triton.cdiv(h * w, SUM_PIXELS), k, n
    return [cells, Launch(_corner_sum_kernel, grid, arguments | dict(strides), {"PIXELS": SUM_PIXELS})], gradient


def upsample_cross_entropy_triton(
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    ohem_threshold: float | None,
    ohem_min_kept: int,
    align_corners: bool,
    with_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Launch the kernels; arguments and results as `op._loss` has them."""
    dtype = accumulation_dtype(logits)
    ids = class_ids(target, logits.shape[1], ignore_index).contiguous()
    gradient = logits.new_empty(0, dtype=dtype)
    if logits.shape[0] == 0:
        return logits.new_zeros((), dtype=dtype), torch.empty_like(logits, dtype=dtype) if with_gradient else gradient
    weight = logits.new_ones(logits.shape[1], dtype=dtype) if weight is None else weight.to(dtype).contiguous()
    if ohem_threshold is not None:
        launch, probability, _ = plan_losses(logits, ids, weight, 0.0, align_corners, mining=True)
        run([launch], logits)
        ids = ids.where(hard_pixels(probability, ids != IGNORED, ohem_threshold, ohem_min_kept), IGNORED)
    launch, log_totals, sums = plan_losses(logits, ids, weight, label_smoothing, align_corners, mining=False)
    run([launch], logits)
    loss, divisor = sums.sum(0, dtype=torch.float64)
    if with_gradient:
        launches, gradient = plan_gradient(logits, ids, weight, log_totals, divisor, label_smoothing, align_corners)
        run(launches, logits)
    return torch.where(divisor > 0, loss / divisor, 0.0).to(dtype), gradient
