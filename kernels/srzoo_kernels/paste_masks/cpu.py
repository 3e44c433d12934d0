"""The masks on a CPU, in PyTorch's own operations: a window is a product of two matrices and its mask."""

from collections.abc import Sequence

import torch

from ..windows.flat import Window, total_pixels

_STRIP = 1 << 16  # pixels of a window that are computed at a time, 256 KB of float32, which stay in the caches


def paste_masks_cpu(
    masks: torch.Tensor, boxes: torch.Tensor, windows: Sequence[Window], threshold: float, padding: int
) -> torch.Tensor:
    """The operator without Triton; arguments and result as `op._paste` has them."""
    pasted = torch.empty(total_pixels(windows), dtype=torch.bool, device=masks.device)
    masks, boxes = masks.float(), boxes.float()
    tops, lefts = ([(each.top, each.height) for each in windows], [(each.left, each.width) for each in windows])
    rows = _weights(tops, boxes[:, 1], boxes[:, 3], masks.shape[-1], padding).split([size for _, size in tops])
    columns = _weights(lefts, boxes[:, 0], boxes[:, 2], masks.shape[-1], padding).split([size for _, size in lefts])
    for mask, down, across, window in zip(masks, rows, columns, windows, strict=True):
        lines = mask @ across.mT  # (M, width)
        step = max(1, _STRIP // max(1, window.width))
        for part, place in zip(down.split(step), window.of(pasted).split(step), strict=True):
            torch.ge(part @ lines, threshold, out=place)
    return pasted.view(torch.uint8)


def _weights(
    spans: list[tuple[int, int]], low: torch.Tensor, high: torch.Tensor, side: int, padding: int
) -> torch.Tensor:
    """What each of ``side`` cells gives to the pixels along one axis of every window: ``(sum of lengths, side)``.

    ``spans`` holds the first pixel and the length of each window, ``low`` and ``high`` ``(N,)`` are its box's sides.
    """
    first, length = torch.tensor(spans, dtype=torch.int64, device=low.device).view(-1, 2).unbind(1)
    total = sum(size for _, size in spans)
    # The pixels of a span count on from those of the spans before it.
    offset, low, high = (
        each.repeat_interleave(length, output_size=total) for each in (first - length.cumsum(0) + length, low, high)
    )
    pixel = (torch.arange(total, device=low.device) + offset).to(low.dtype)
    position = (pixel + 0.5 - low) / (high - low) * (side + 2 * padding) - (0.5 + padding)
    return (position[:, None] - torch.arange(side, device=low.device)).abs_().neg_().add_(1).clamp_(min=0)
