"""The loss and its gradient in two kernels, which both interpolate the logits again rather than store them.

The first keeps the running softmax denominator of a tile of output pixels in registers, and writes its logarithm (one
plane, whatever the classes) and two sums a tile. In the second a source pixel of a class sums over the output pixels
it contributed to: no atomics, so the same input gives the same bits.
"""

import math

import torch
import triton
import triton.language as tl

from ..launch import Launch, run
from ..layout import accumulation_dtype
from ..upsample_argmax._triton import WARPS, geometry, interpolate_tile, plan_tiles, source_position, triton_dtype
from .labels import IGNORED, class_ids, hard_pixels

GRADIENT_COLUMNS = 32
GRADIENT_WARPS = 1  # so that a thread owns one source column, and a pixel's weights serve every class of its block
_WEIGHTS_COST = 6  # what those weights take, in classes


def classes_per_block(classes: int) -> int:
    """Classes of a program of the gradient kernel: more share a pixel's weights, fewer pad the last block less."""
    return min((16, 8, 4), key=lambda block: triton.cdiv(classes, block) * (block + _WEIGHTS_COST))


@triton.jit
def _loss_kernel(
    logits, labels, weight, log_totals, probability, sums,
    scale_y: tl.float64, scale_x: tl.float64, smoothing: tl.float64,
    classes, h, w, height, width, stride_n, stride_k, stride_h, stride_w,
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
    out = (image * height + y.to(tl.int64)[:, None]) * width + x[None, :]
    mask = (y < height)[:, None] & (x < width)[None, :]
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

    log_total = tl.log(total)
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
def _first_output(source_pixel, outputs_per_pixel, ALIGN_CORNERS: tl.constexpr):
    """No output before this one has a share in ``source_pixel``. A hundredth of a pixel covers the rounding."""
    bound = (source_pixel - 0.5) * outputs_per_pixel - 0.5
    if ALIGN_CORNERS:
        bound = (source_pixel - 1.0) * outputs_per_pixel
    # Those before the first source pixel's centre are all its own.
    return tl.where(source_pixel == 0, 0, tl.maximum(tl.floor(bound - 0.01).to(tl.int32), 0))


@triton.jit
def _share(low, high, towards_high, source_pixel):
    """Of outputs that lie between ``low`` and ``high``, the share that is ``source_pixel``'s."""
    return tl.where(low == source_pixel, 1.0 - towards_high, 0.0) + tl.where(high == source_pixel, towards_high, 0.0)


@triton.jit
def _gradient_kernel(
    logits, labels, weight, log_totals, totals, gradient,
    scale_y: tl.float64, scale_x: tl.float64, outputs_y: tl.float32, outputs_x: tl.float32, smoothing: tl.float64,
    classes, h, w, height, width, window_y, window_x,
    stride_n, stride_k, stride_h, stride_w, grad_stride_n, grad_stride_k, grad_stride_h, grad_stride_w,
    ALIGN_CORNERS: tl.constexpr, CLASSES: tl.constexpr, COLUMNS: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(w, COLUMNS)
    i = tl.program_id(0) // tiles
    j = (tl.program_id(0) % tiles) * COLUMNS + tl.arange(0, COLUMNS)
    k = tl.program_id(1) * CLASSES + tl.arange(0, CLASSES)
    image = tl.program_id(2).to(tl.int64)
    column = tl.minimum(j, w - 1) * stride_w
    before, after = tl.maximum(tl.minimum(j, w) - 1, 0) * stride_w, tl.minimum(j + 1, w - 1) * stride_w
    plane = logits + image * stride_n + tl.minimum(k, classes - 1).to(tl.int64)[:, None] * stride_k
    class_weight = tl.load(weight + k, k < classes, 0.0).to(DTYPE)
    smooth = tl.full((), smoothing, DTYPE)
    weights, divisor = tl.load(totals), tl.load(totals + 1)

    first_y = _first_output(i, outputs_y, ALIGN_CORNERS)
    first_x = _first_output(j, outputs_x, ALIGN_CORNERS)
    result = tl.zeros((CLASSES, COLUMNS), DTYPE)
    for down_by in range(tl.minimum(window_y, height - first_y)):
        y = first_y + down_by
        low_y, high_y, down = source_position(y, scale_y, h, ALIGN_CORNERS, DTYPE)
        share_y = _share(low_y, high_y, down, i)
        upper, lower = plane + low_y * stride_h, plane + high_y * stride_h
        # The columns j - 1, j and j + 1 of this line of outputs; all it needs lies between them.
        one = tl.load(upper + before[None, :]).to(DTYPE)
        one += down * (tl.load(lower + before[None, :]).to(DTYPE) - one)
        two = tl.load(upper + column[None, :]).to(DTYPE)
        two += down * (tl.load(lower + column[None, :]).to(DTYPE) - two)
        three = tl.load(upper + after[None, :]).to(DTYPE)
        three += down * (tl.load(lower + after[None, :]).to(DTYPE) - three)
        line = (image * height + y) * width
        for across_by in range(window_x):
            x = first_x + across_by
            low_x, high_x, across = source_position(x, scale_x, w, ALIGN_CORNERS, DTYPE)
            inside = (x < width) & (j < w)
            ids = tl.load(labels + line + x, inside, -1).to(tl.int32)
            log_total = tl.load(log_totals + line + x, inside, float("inf"))
            true = (1.0 - smooth) * tl.load(weight + ids, ids >= 0, 0.0).to(DTYPE)
            every = tl.where(ids >= 0, smooth / classes, 0.0)
            from_left = (low_x < j)[None, :]
            start, stop = tl.where(from_left, one, two), tl.where(from_left, two, three)
            value = start + across[None, :] * (stop - start)
            slope = tl.exp(value - log_total[None, :]) * (true + every * weights)[None, :]
            slope -= tl.where(ids[None, :] == k[:, None], true[None, :], 0.0)
            slope -= every[None, :] * class_weight[:, None]
            share = tl.where(inside, share_y * _share(low_x, high_x, across, j), 0.0)
            result += tl.where(share[None, :] > 0, share[None, :] * slope, 0.0)

    result = tl.where(divisor > 0, result, 0.0) / tl.where(divisor > 0, divisor, 1.0)
    out = gradient + image * grad_stride_n + k.to(tl.int64)[:, None] * grad_stride_k + i * grad_stride_h
    tl.store(out + j[None, :] * grad_stride_w, result, (k < classes)[:, None] & (j < w)[None, :])


def _outputs_per_pixel(size: int, source: int, align_corners: bool) -> tuple[float, int]:
    """Output pixels per source pixel, and the most of them that share one source pixel."""
    each = size / source
    if align_corners:
        each = (size - 1) / (source - 1) if source > 1 and size > 1 else 1.0
    return each, size if source == 1 else min(size, math.ceil(2 * each) + 3)


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
) -> tuple[Launch, torch.Tensor]:
    """The launch that fills the gradient of ``logits``, given the plane of `plan_losses` and the sum of weights."""
    n, k, h, w = logits.shape
    gradient = torch.empty_like(logits, dtype=weight.dtype)
    (each_y, window_y), (each_x, window_x) = (
        _outputs_per_pixel(*sides, align_corners) for sides in zip(ids.shape[1:], (h, w), strict=True)
    )
    block = classes_per_block(k)
    strides = zip(("grad_stride_n", "grad_stride_k", "grad_stride_h", "grad_stride_w"), gradient.stride(), strict=True)
    arguments = {
        "logits": logits,
        "labels": ids,
        "weight": weight,
        "log_totals": log_totals,
        "totals": torch.stack([weight.sum(), divisor]).to(weight.dtype),
        "gradient": gradient,
        "outputs_y": each_y,
        "outputs_x": each_x,
        "smoothing": smoothing,
        "window_y": window_y,
        "window_x": window_x,
        **geometry(logits, ids.shape[1:], align_corners),
        **dict(strides),
    }
    constants = {
        "ALIGN_CORNERS": align_corners,
        "CLASSES": block,
        "COLUMNS": GRADIENT_COLUMNS,
        "DTYPE": triton_dtype(weight.dtype),
    }
    grid = h * triton.cdiv(w, GRADIENT_COLUMNS), triton.cdiv(k, block), n
    return Launch(_gradient_kernel, grid, arguments, constants, GRADIENT_WARPS), gradient


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
    """Launch the kernels; arguments and results as `op._upsample_cross_entropy` has them."""
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
        launch, gradient = plan_gradient(logits, ids, weight, log_totals, divisor, label_smoothing, align_corners)
        run([launch], logits)
    return torch.where(divisor > 0, loss / divisor, 0.0).to(dtype), gradient
