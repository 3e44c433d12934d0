"""The loss and its gradient, which both interpolate the logits again rather than store them.

With ``x_pk`` the resized logits at pixel ``p``, ``y`` its label, ``w`` the weights of the ``K`` classes, ``s`` the
smoothing and ``L_p = log sum_k exp x_pk``, summed over the labelled pixels:

    loss     = sum_p [(1 - s) w_y (L_p - x_py) + s / K sum_k w_k (L_p - x_pk)] / sum_p w_y
    slope_pk = exp(x_pk - L_p) ((1 - s) w_y + s / K sum_j w_j) - (1 - s) w_y [k = y] - s / K w_k

The gradient by ``x_pk`` is ``slope_pk / sum_p w_y``; the logits get it through the resize, which is linear.

The first kernel keeps the running softmax denominator of a tile of output pixels in registers, and writes its logarithm
(one plane, whatever the classes), the pixels' class ids and three sums a tile; the second adds these up. In the third a
cell, the outputs between four source pixels, sums what it gives to each of them; the fourth adds up a source pixel's
four cells. No atomics: the same input gives the same bits. Nothing waits for the device: a label that is no class makes
the loss and its gradient NaN.
"""

import math

import torch
import triton
import triton.language as tl

from ..bilinear._triton import (
    LOG2_E,
    WARPS,
    gather_tile,
    geometry,
    interpolate_tile,
    outputs_of_cell,
    outputs_per_pixel,
    plan_tiles,
    source_position,
    tile_positions,
    triton_dtype,
)
from ..bilinear.tiles import with_near_columns
from ..launch import Launch, Target
from ..layout import accumulation_dtype
from ..prepared.plan import launched
from .labels import lowest

GRADIENT_COLUMNS = 32
GRADIENT_WARPS = 1  # so that a thread owns one column of cells, and a pixel's weights serve every class of its block
SUM_PIXELS = 512
TOTAL_TILES = 1024
_WEIGHTS_COST = 6  # what those weights take, in classes


def classes_per_block(classes: int) -> int:
    """Classes of a program over cells: more share a pixel's weights, fewer pad the last block less; 16 would spill."""
    return min((8, 4), key=lambda block: triton.cdiv(classes, block) * (block + _WEIGHTS_COST))


@triton.jit
def _read_labels(target, mask, ignore_index, classes):
    """The labels of pixels, which of them are classes, and which are neither that nor ``ignore_index``."""
    labels = tl.load(target, mask, 0).to(tl.int64)
    labelled = mask & (labels != ignore_index)
    wrong = labelled & ((labels < 0) | (labels >= classes))
    return labels, labelled & (labels >= 0) & (labels < classes), wrong


@triton.jit
def _is_mined(probability, mask, cutoff, threshold, LEAST: tl.constexpr, DTYPE: tl.constexpr):
    """Whether pixels are hard enough to learn from, given their true classes' probabilities."""
    truth = tl.load(probability, mask, 2.0)
    hard = truth < tl.full((), threshold, DTYPE)
    if LEAST:
        hard = hard | (truth <= tl.load(cutoff))
    return hard


@triton.jit
def _sums_over_classes(
    plane, weight, row, low_y, high_y, down, left, right, across, classes, h, stride_k, stride_h,
    SPAN: tl.constexpr, DTYPE: tl.constexpr, WEIGHTED: tl.constexpr, SMOOTHED: tl.constexpr,
):  # fmt: skip
    """``max_k x_pk``, ``sum_k exp(x_pk - max)``, ``sum_k w_k x_pk`` and ``sum_k w_k`` of a tile of outputs.

    The last two are zero unless ``SMOOTHED``. One pass over the classes, from the ``plane`` of the first on, keeps them
    in registers, and the caller no more than the labels beside them, since registers decide how many programs run at a
    time.
    """
    best = tl.full((low_y.shape[0], left.shape[0]), float("-inf"), DTYPE)
    total = tl.zeros(best.shape, DTYPE)
    weighted = tl.zeros(best.shape, DTYPE)
    weights = tl.zeros((), DTYPE)
    for k in range(classes):
        value = interpolate_tile(plane, row, low_y, high_y, down, left, right, across, h, stride_h, SPAN, DTYPE)
        smaller = tl.exp2(tl.abs(value - best) * -LOG2_E)
        total = tl.where(value > best, total * smaller + 1.0, total + smaller)
        best = tl.maximum(best, value)
        if SMOOTHED:
            class_weight = tl.load(weight + k).to(DTYPE) if WEIGHTED else tl.full((), 1.0, DTYPE)
            weighted += class_weight * value
            weights += class_weight
        plane += stride_k
    return best, total, weighted, weights


@triton.jit
def _loss_kernel(
    logits,  # (N, K, h, w)
    target,  # (N, H, W) int64 or uint8
    weight,  # (K,)
    mined,  # (N, H, W): probabilities of the true classes
    cutoff,  # (): one more that is kept
    log_totals,  # (N, H, W), to the base 2
    ids,  # (N, H, W) int32
    sums,  # (3, tiles)
    scale_y: tl.float64,
    scale_x: tl.float64,
    smoothing: tl.float64,
    threshold: tl.float64,
    ignore_index,
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
    WEIGHTED: tl.constexpr,
    SMOOTHED: tl.constexpr,
    MINED: tl.constexpr,
    LEAST: tl.constexpr,
):
    """``L_p`` and the class id of every pixel, and a tile's sums: the loss's numerator, ``w_y``, and wrong labels.

    Ids are -1 where the pixel is ignored, wrong, or not mined: mined are probabilities below ``threshold`` and, for
    ``LEAST``, up to ``cutoff``. ``weight`` is in ``DTYPE``; without ``WEIGHTED`` every ``w_k`` is 1. For
    ``PROBABILITY``, which mining asks for, instead of all that ``log_totals`` gets the true class's softmax
    ``exp(x_py - L_p)``, and 2 where there is no label.

    The scales are `source_scale`, the sizes those of ``logits`` and ``labels``, the strides those of ``logits`` in
    elements. A tile has ``ROWS x COLUMNS`` outputs and reads ``SPAN`` source rows.
    """
    image = tl.program_id(2).to(tl.int64)
    y, x, row, low_y, high_y, down, left, right, across = tile_positions(
        scale_y, scale_x, h, w, stride_w, ALIGN_CORNERS, ROWS, COLUMNS, DTYPE
    )
    # Not seen to be consecutive, as a thread would get four of them, and all that belongs to four columns.
    out = tl.arange(0, ROWS)[:, None] * width + tl.minimum(x, width - 1)[None, :]
    first_out = (image * height + tl.program_id(1) * ROWS) * width
    mask = (y < height)[:, None] & (x < width)[None, :]
    labels, labelled, wrong = _read_labels(target + first_out + out, mask, ignore_index, classes)
    if MINED:
        labelled = labelled & _is_mined(mined + first_out + out, mask, cutoff, threshold, LEAST, DTYPE)
    classes_of = tl.where(labelled, labels, -1).to(tl.int32)
    tile = (image * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
    tiles = tl.num_programs(0).to(tl.int64) * tl.num_programs(1) * tl.num_programs(2)
    if not PROBABILITY:
        tl.store(ids + first_out + out, classes_of, mask)
        tl.store(sums + 2 * tiles + tile, tl.sum(tl.where(wrong, 1.0, 0.0).to(DTYPE)))

    plane = logits + image * stride_n
    best, total, weighted, weights = _sums_over_classes(
        plane, weight, row, low_y, high_y, down, left, right, across, classes, h, stride_k, stride_h,
        SPAN, DTYPE, WEIGHTED, SMOOTHED,
    )  # fmt: skip
    log_total = tl.log(total)  # L_p - best
    labelled = classes_of >= 0
    true_plane = plane + tl.maximum(classes_of, 0).to(tl.int64) * stride_k
    true = gather_tile(true_plane, row, low_y, high_y, down, left, right, across, stride_h, DTYPE)
    if PROBABILITY:
        tl.store(log_totals + first_out + out, tl.where(labelled, tl.exp(true - best - log_total), 2.0), mask)
    else:
        share = tl.where(labelled, 1.0, 0.0).to(DTYPE)
        if WEIGHTED:
            share = tl.load(weight + classes_of, labelled, 0.0)
        loss = share * (best - true + log_total)
        if SMOOTHED:
            smooth = tl.full((), smoothing, DTYPE)
            loss = (1.0 - smooth) * loss + smooth / classes * (weights * (best + log_total) - weighted)
        # An ignored pixel's share of every softmax gradient becomes exp(x - inf) = 0.
        tl.store(log_totals + first_out + out, tl.where(labelled, (best + log_total) * LOG2_E, float("inf")), mask)
        tl.store(sums + tile, tl.sum(tl.where(labelled, loss, 0.0)))
        tl.store(sums + tiles + tile, tl.sum(share))


@triton.jit
def _total_kernel(
    sums,  # (3, tiles)
    weight,  # (K,)
    loss,  # ()
    totals,  # (2,): the sum of weight, and the loss's divisor
    tiles,
    classes,
    TILES: tl.constexpr,
    DTYPE: tl.constexpr,
    WEIGHTED: tl.constexpr,
):
    """Sum the tiles in float64. The loss is 0 without a labelled pixel, and it and the divisor NaN with a wrong one."""
    index = tl.arange(0, TILES)
    numerator = tl.zeros((TILES,), tl.float64)
    divisor = tl.zeros((TILES,), tl.float64)
    wrong = tl.zeros((TILES,), tl.float64)
    for start in range(0, tiles, TILES):
        inside = start + index < tiles
        here = sums + start + index
        numerator += tl.load(here, inside, 0.0).to(tl.float64)
        divisor += tl.load(here + tiles, inside, 0.0).to(tl.float64)
        wrong += tl.load(here + 2 * tiles, inside, 0.0).to(tl.float64)
    weights = tl.full((), classes, tl.float64)  # of a single class Triton makes a constant, which has no ``to``
    if WEIGHTED:
        each = tl.zeros((TILES,), tl.float64)
        for start in range(0, classes, TILES):
            each += tl.load(weight + start + index, start + index < classes, 0.0).to(tl.float64)
        weights = tl.sum(each)
    total = tl.where(tl.sum(wrong) > 0, float("nan"), tl.sum(divisor))
    tl.store(loss, tl.where(total == 0, 0.0, tl.sum(numerator) / total).to(DTYPE))
    tl.store(totals, weights.to(DTYPE))
    tl.store(totals + 1, total.to(DTYPE))


@triton.jit
def _load_corners(plane, i, j, h, w, stride_h, stride_w, DTYPE: tl.constexpr):
    """The logits at the four corners of cells, ``(CLASSES, COLUMNS)`` each; ``plane`` is ``(CLASSES, 1)``.

    As exponents of 2, which the exponential would make of every output's value else.
    """
    upper = plane + i.to(tl.int64) * stride_h
    lower = plane + tl.minimum(i + 1, h - 1).to(tl.int64) * stride_h
    left, right = tl.minimum(j, w - 1) * stride_w, tl.minimum(j + 1, w - 1) * stride_w
    upper_left = tl.load(upper + left[None, :]).to(DTYPE) * LOG2_E
    upper_right = tl.load(upper + right[None, :]).to(DTYPE) * LOG2_E
    lower_left = tl.load(lower + left[None, :]).to(DTYPE) * LOG2_E
    lower_right = tl.load(lower + right[None, :]).to(DTYPE) * LOG2_E
    return upper_left, upper_right, lower_left, lower_right


@triton.jit
def _slope(
    value, log_total, label, k, weight, class_weight, weights, smooth, classes,
    WEIGHTED: tl.constexpr, SMOOTHED: tl.constexpr,
):  # fmt: skip
    """``slope_pk`` ``(CLASSES, COLUMNS)`` of one output in each column of cells: zero where there is no label.

    ``value`` has that shape and is, as ``log_total`` ``(COLUMNS,)``, to the base 2; ``label`` is ``(COLUMNS,)``, ``k``
    and ``class_weight`` are ``(CLASSES,)``.
    """
    # Outside the cell ``value`` may be of a pixel that no output reads, and infinite.
    slope = tl.where(label[None, :] >= 0, tl.exp2(value - log_total[None, :]), 0.0)
    true = tl.full(label.shape, 1.0, value.dtype)
    if WEIGHTED:
        true = tl.load(weight + label, label >= 0, 0.0)
    if SMOOTHED:
        every = tl.where(label >= 0, smooth / classes, 0.0)
        true = tl.where(label >= 0, (1.0 - smooth) * true, 0.0)
        slope = slope * (true + every * weights)[None, :] - every[None, :] * class_weight[:, None]
    elif WEIGHTED:
        slope *= true[None, :]
    return slope - tl.where(label[None, :] == k[:, None], true[None, :], 0.0)


@triton.jit
def _line_gradient(
    ids, log_totals, line_inside, first_x, end_x, most, scale_x, w, j, start, stop,
    k, weight, class_weight, weights, smooth, classes,
    ALIGN_CORNERS: tl.constexpr, DTYPE: tl.constexpr, WEIGHTED: tl.constexpr, SMOOTHED: tl.constexpr,
):  # fmt: skip
    """What one line of a cell's outputs gives to its left and to its right corners, ``(CLASSES, COLUMNS)`` each.

    ``start`` and ``stop``, of that shape, are the logits where the line enters and leaves the cell. Its outputs are
    those from ``first_x`` to ``end_x`` ``(COLUMNS,)``, ``most`` or fewer, of the line that ``ids`` and ``log_totals``
    begin with, if ``line_inside``. The others are those of `_slope` and of `_cell_gradient_kernel`.
    """
    to_left = tl.zeros(start.shape, DTYPE)
    to_right = tl.zeros(start.shape, DTYPE)
    for across_by in range(most):
        x = first_x + across_by
        low_x, _beside, across = source_position(x, scale_x, w, ALIGN_CORNERS, DTYPE)
        across = tl.where(j == w - 1, 0.0, across).to(DTYPE)
        inside = (x < end_x) & (low_x == j) & line_inside
        label = tl.load(ids + x, inside, -1)
        log_total = tl.load(log_totals + x, inside, float("inf"))
        value = start + across[None, :] * (stop - start)
        slope = _slope(value, log_total, label, k, weight, class_weight, weights, smooth, classes, WEIGHTED, SMOOTHED)
        to_right += across[None, :] * slope
        to_left += (1.0 - across)[None, :] * slope
    return to_left, to_right


@triton.jit
def _cell_gradient_kernel(
    logits,  # (N, K, h, w)
    ids,  # (N, H, W) int32, -1 where there is nothing to learn from
    weight,  # (K,)
    log_totals,  # (N, H, W), to the base 2
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
    WEIGHTED: tl.constexpr,
    SMOOTHED: tl.constexpr,
):
    """What the outputs of each cell give to its four source pixels: ``corners[c] = sum_p a_c(p) slope_pk``.

    Cell ``(i, j)`` holds the outputs ``p`` between the source pixels ``(i, j)`` and ``(i + 1, j + 1)``, ``c`` counts
    its corners (upper left, upper right, lower left, lower right), and ``a_c(p)`` is the corner's share of ``p``. A
    program takes ``COLUMNS`` cells of a source row and ``CLASSES`` classes, and visits the outputs of its cells.

    The scales are `source_scale`, ``outputs_y`` and ``outputs_x`` `outputs_per_pixel`, the sizes those of ``logits``
    and ``ids``, the strides those of ``logits`` in elements.
    """
    tiles = tl.cdiv(w, COLUMNS)
    i = tl.program_id(0) // tiles
    j = (tl.program_id(0) % tiles) * COLUMNS + tl.arange(0, COLUMNS)
    k = tl.program_id(1) * CLASSES + tl.arange(0, CLASSES)
    image = tl.program_id(2).to(tl.int64)
    plane = logits + image * stride_n + tl.minimum(k, classes - 1).to(tl.int64)[:, None] * stride_k
    upper_left, upper_right, lower_left, lower_right = _load_corners(plane, i, j, h, w, stride_h, stride_w, DTYPE)
    class_weight = tl.full((CLASSES,), 1.0, DTYPE)
    if WEIGHTED:
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
        line = (image * height + y) * width
        to_left, to_right = _line_gradient(
            ids + line, log_totals + line, low_y == i, first_x, end_x, most, scale_x, w, j, start, stop,
            k, weight, class_weight, weights, smooth, classes, ALIGN_CORNERS, DTYPE, WEIGHTED, SMOOTHED,
        )  # fmt: skip
        to_upper_left += (1.0 - down) * to_left
        to_upper_right += (1.0 - down) * to_right
        to_lower_left += down * to_left
        to_lower_right += down * to_right

    # Each corner's sums lie in a map of their own, at the cell's place.
    inside = (k < classes)[:, None] & (j < w)[None, :]
    # Columns that are not seen to be consecutive, as in `_loss_kernel`.
    out = corners + ((image * classes + k.to(tl.int64)[:, None]) * h + i) * w + tl.minimum(j, w - 1)[None, :]
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
    """The gradient of a source pixel: what its four cells give to it over the divisor, zero if that is zero, or NaN.

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
    value = tl.where(divisor == 0, 0.0, value / divisor)
    out = gradient + image * grad_stride_n + k.to(tl.int64) * grad_stride_k
    out += i.to(tl.int64) * grad_stride_h + j * grad_stride_w
    tl.store(out, value, inside)


def _loss_launch(
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    plane: torch.Tensor,
    ignore_index: int,
    align_corners: bool,
    smoothing: float = 0.0,
    threshold: float | None = None,
    mined: torch.Tensor | None = None,
    cutoff: torch.Tensor | None = None,
    results: dict[str, torch.Tensor] | None = None,
) -> Launch:
    """The launch over every output pixel; without ``results``, ids and sums, that of the probabilities."""
    grid, arguments, constants = plan_tiles(logits, target.shape[1:], align_corners)
    absent = plane  # a pointer that is never followed
    tensors = {"logits": logits, "target": target, "weight": absent if weight is None else weight}
    tensors |= {"mined": absent if mined is None else mined, "cutoff": absent if cutoff is None else cutoff}
    tensors |= {"log_totals": plane} | (results or {"ids": absent, "sums": absent})
    numbers = {"smoothing": smoothing, "threshold": threshold or 0.0, "ignore_index": ignore_index}
    constants |= {"PROBABILITY": results is None, "WEIGHTED": weight is not None, "SMOOTHED": smoothing != 0}
    constants |= {"MINED": mined is not None, "LEAST": cutoff is not None}
    return Launch(_loss_kernel, grid, tensors | arguments | numbers, constants, WARPS)


def plan_probability(
    logits: torch.Tensor, target: torch.Tensor, ignore_index: int, align_corners: bool, device: Target
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The launch that fills the true classes' probabilities ``(N, H, W)``: 2 where there is no label."""
    probability = logits.new_empty(target.shape, dtype=accumulation_dtype(logits))
    return [_loss_launch(logits, target, None, probability, ignore_index, align_corners)], (probability,)


def plan_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    mined: torch.Tensor | None,
    cutoff: torch.Tensor | None,
    ignore_index: int,
    smoothing: float,
    threshold: float | None,
    align_corners: bool,
    with_gradient: bool,
    device: Target,
) -> tuple[list[Launch], tuple[torch.Tensor, torch.Tensor]]:
    """The two launches that fill the loss, and with the gradient the two that fill that; as `op._loss` has them.

    ``weight`` has the accumulator's dtype; ``mined`` and ``cutoff`` are of `plan_probability`, or None.
    """
    n, k, h, w = logits.shape
    height, width = target.shape[1:]
    dtype = accumulation_dtype(logits)
    accumulator = triton_dtype(dtype)
    loss = logits.new_empty((), dtype=dtype)
    gradient = torch.empty_like(logits if with_gradient else logits.new_empty(0), dtype=dtype)
    log_totals = logits.new_empty(target.shape, dtype=dtype)
    ids = logits.new_empty(target.shape, dtype=torch.int32)
    tiles = math.prod(plan_tiles(logits, (height, width), align_corners)[0])
    sums, totals = logits.new_empty((3, tiles), dtype=dtype), logits.new_empty(2, dtype=dtype)
    options = {"smoothing": smoothing, "threshold": threshold, "mined": mined, "cutoff": cutoff}
    results = {"ids": ids, "sums": sums}
    is_weighted = weight is not None
    absent = totals  # a pointer that is never followed
    total = Launch(
        _total_kernel,
        (1, 1, 1),
        {"sums": sums, "weight": weight if is_weighted else absent, "loss": loss, "totals": totals}
        | {"tiles": tiles, "classes": k},
        {"TILES": TOTAL_TILES, "DTYPE": accumulator, "WEIGHTED": is_weighted},
    )
    first = _loss_launch(logits, target, weight, log_totals, ignore_index, align_corners, **options, results=results)
    if not with_gradient:
        return [first, total], (loss, gradient)
    corners = logits.new_empty((4, n, k, h, w), dtype=dtype)
    arguments = {
        "logits": logits,
        "ids": ids,
        "weight": weight if is_weighted else absent,
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
        "DTYPE": accumulator,
        "WEIGHTED": is_weighted,
        "SMOOTHED": smoothing != 0,
    }
    grid = h * triton.cdiv(w, GRADIENT_COLUMNS), triton.cdiv(k, constants["CLASSES"]), n
    cells = Launch(_cell_gradient_kernel, grid, arguments, constants, GRADIENT_WARPS)
    strides = zip(("grad_stride_n", "grad_stride_k", "grad_stride_h", "grad_stride_w"), gradient.stride(), strict=True)
    arguments = {"corners": corners, "totals": totals, "gradient": gradient, "classes": k, "h": h, "w": w}
    grid = triton.cdiv(h * w, SUM_PIXELS), k, n
    corner_sum = Launch(_corner_sum_kernel, grid, arguments | dict(strides), {"PIXELS": SUM_PIXELS})
    return [first, total, cells, corner_sum], (loss, gradient)


def _laid_out(logits: torch.Tensor, target: torch.Tensor, *others: torch.Tensor | None) -> tuple:
    others = (None if each is None else each.contiguous() for each in others)
    return with_near_columns(logits, target.contiguous(), *others)


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
    if logits.shape[0] == 0:
        gradient = torch.empty_like(logits if with_gradient else logits.new_empty(0), dtype=dtype)
        return logits.new_zeros((), dtype=dtype), gradient
    weight = None if weight is None else weight.to(dtype)
    mined = cutoff = None
    if ohem_threshold is not None:
        options = (ignore_index, align_corners)
        (mined,) = launched(plan_probability, (logits, target), *options, laid_out=_laid_out)
        if ohem_min_kept > 0:
            cutoff = lowest(mined, ohem_min_kept)
    operands = (logits, target, weight, mined, cutoff)
    options = (ignore_index, label_smoothing, ohem_threshold, align_corners, with_gradient)
    return launched(plan_loss, operands, *options, laid_out=_laid_out)
