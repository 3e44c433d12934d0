"""All masks in one launch: a program has some pixels of one window, and the mask stays in the caches."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from ..launch import Launch, run
from ..windows._triton import BLOCK, WARPS, block_pixels
from ..windows.flat import Window, plan_blocks, total_pixels


@triton.jit
def _cell(pixel, low, high, side, padding):
    """The cell before the pixels' centres along one axis, and how far behind it they are, in cells."""
    position = (pixel.to(tl.float32) + 0.5 - low) / (high - low) * (side + 2 * padding) - (0.5 + padding)
    # Everything beyond the outermost zeros is zero. A box without a side gives positions that are no integer's.
    position = tl.minimum(tl.maximum(position, -1.0), side * 1.0)
    cell = tl.floor(position)
    return cell.to(tl.int32), position - cell


@triton.jit
def _line(mask, row, left, across, side, inside):
    """A row of the mask at the pixels' columns; zero beyond its ends."""
    inside = inside & (row >= 0) & (row < side)
    start = mask + row * side + left
    first = tl.load(start, inside & (left >= 0) & (left < side), 0.0).to(tl.float32)
    second = tl.load(start + 1, inside & (left >= -1) & (left + 1 < side), 0.0).to(tl.float32)
    return first + across * (second - first)


@triton.jit
def _paste_kernel(
    masks,  # (N, M, M)
    boxes,  # (N, 4) float32
    pasted,  # (T,) uint8
    owner,
    table,
    threshold,
    side,
    padding,
    BLOCK: tl.constexpr,
):
    """``pasted = value >= threshold``, of a block; ``owner`` and ``table`` are those of `flat.Blocks`."""
    window, _, _, index, x, y, inside = block_pixels(tl.program_id(0), owner, table, BLOCK)
    detection = window.to(tl.int64)
    box = boxes + detection * 4
    left, across = _cell(x, tl.load(box), tl.load(box + 2), side, padding)
    top, down = _cell(y, tl.load(box + 1), tl.load(box + 3), side, padding)
    mask = masks + detection * side * side
    first = _line(mask, top, left, across, side, inside)
    second = _line(mask, top + 1, left, across, side, inside)
    value = first + down * (second - first)
    tl.store(pasted + index, (value >= threshold).to(tl.uint8), inside)


def plan_paste_masks(
    masks: torch.Tensor, boxes: torch.Tensor, windows: Sequence[Window], threshold: float, padding: int
) -> tuple[Launch, torch.Tensor]:
    """The launch that fills the pixels; as `op._paste` has them."""
    pasted = masks.new_empty(total_pixels(windows), dtype=torch.uint8)
    blocks = plan_blocks(windows, [range(len(windows))], BLOCK, masks.device)
    tensors = {"masks": masks.contiguous(), "boxes": boxes.float().contiguous(), "pasted": pasted}
    arguments = {
        "owner": blocks.owner,
        "table": blocks.table,
        "threshold": threshold,
        "side": masks.shape[-1],
        "padding": padding,
    }
    return Launch(_paste_kernel, (len(blocks.owner), 1, 1), tensors | arguments, {"BLOCK": BLOCK}, WARPS), pasted


def paste_masks_triton(
    masks: torch.Tensor, boxes: torch.Tensor, windows: Sequence[Window], threshold: float, padding: int
) -> torch.Tensor:
    """Launch the kernel; arguments and result as `op._paste` has them."""
    launch, pasted = plan_paste_masks(masks, boxes, windows, threshold, padding)
    if len(pasted) > 0:
        run([launch], masks)
    return pasted
