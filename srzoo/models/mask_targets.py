"""What the mask head is trained on: the annotated masks, sampled within the boxes of proposals."""

from __future__ import annotations

import torch

from ..data.mask_windows import MaskWindows

_SAMPLES = 2  # per cell along each axis


def mask_targets(
    masks: MaskWindows, boxes: torch.Tensor, matched: torch.Tensor, size: int, aligned: bool = False
) -> torch.Tensor:
    """Shares of each cell of a grid over a box that a mask covers.

    It is RoIAlign on the masks, with two by two samples per cell where torchvision takes one for each pixel of a large
    box. torchvision needs a dense ``(N, 1, H, W)`` float stack, 1.6 GB for 400 masks of 1024x1024; here the samples are
    read from the masks' windows.

    Args:
        masks: ``N`` masks of one image.
        boxes: ``(P, 4)`` x0, y0, x1, y1 in pixels of the image.
        matched: ``(P,)`` int64, the mask of each box.
        size: cells along each side of the grid.
        aligned: as for RoIAlign, see `srzoo.layers.roi_align.PyramidRoIAlign`.

    Returns:
        ``(P, size, size)`` float32 from 0 to 1.
    """
    device = masks.pixels.device
    windows, offsets = masks.windows.to(device)[matched], masks.offsets.to(device)[:-1][matched]
    steps = (torch.arange(size * _SAMPLES, device=device) + 0.5) / (size * _SAMPLES)
    x0, y0, x1, y1 = boxes.float()[:, :, None].unbind(1)
    shift, least = (0.5, 0) if aligned else (0, 1)
    columns = _axis(x0 + steps * (x1 - x0).clamp(min=least) - shift, windows[:, 0], windows[:, 2], masks.size[1])
    rows = _axis(y0 + steps * (y1 - y0).clamp(min=least) - shift, windows[:, 1], windows[:, 3], masks.size[0])
    width = (windows[:, 2] - windows[:, 0])[:, None, None]
    total = torch.zeros(len(boxes), size * _SAMPLES, size * _SAMPLES, device=device)
    for row, row_weight in rows:
        for column, column_weight in columns:
            index = offsets[:, None, None] + row[:, :, None] * width + column[:, None, :]
            inside = (row >= 0)[:, :, None] & (column >= 0)[:, None, :]
            value = _read(masks.pixels, torch.where(inside, index, 0)) * inside
            total += value * row_weight[:, :, None] * column_weight[:, None, :]
    return torch.nn.functional.avg_pool2d(total[:, None], _SAMPLES)[:, 0]


def _axis(at: torch.Tensor, low: torch.Tensor, high: torch.Tensor, length: int) -> list[tuple[torch.Tensor, ...]]:
    """The two pixels around each position along an axis, relative to the window, or -1 outside of it, with weights.

    Args:
        at: ``(P, S)`` positions, where pixel ``i`` is sampled at ``i`` as in RoIAlign.
        low, high: ``(P,)`` the window's first pixel, and the one after its last.
        length: of the image.
    """
    is_near = (at >= -1) & (at <= length)  # RoIAlign reads 0 elsewhere, and the border's pixel up to there
    at = at.clamp(0, length - 1)
    first = at.floor().long()
    weight = at - first
    around = []
    for pixel, share in ((first, 1 - weight), ((first + 1).clamp(max=length - 1), weight)):
        inside = is_near & (pixel >= low[:, None]) & (pixel < high[:, None])
        around.append((torch.where(inside, pixel - low[:, None], -1), share))
    return around


def _read(pixels: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    if not len(pixels):  # every mask is empty
        return torch.zeros(index.shape, device=index.device)
    return pixels[index].float()
