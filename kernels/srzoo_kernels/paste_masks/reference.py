"""Masks pasted by ``grid_sample``, as detectron2 and mmdet have it, a detection at a time."""

import torch
from torch.nn import functional as F


def mask_values(masks: torch.Tensor, boxes: torch.Tensor, windows: torch.Tensor, padding: int = 0) -> torch.Tensor:
    """The probabilities at the pixels of ``windows``, one window after another: ``(T,)`` of the masks' dtype.

    ``masks`` is ``(N, M, M)``, of which float64 is computed as such, and ``boxes`` and ``windows`` are ``(N, 4)``:
    the box is what the mask and ``padding`` cells of zeros around it cover.
    """
    values = [masks.new_empty(0)]
    for mask, box, window in zip(F.pad(masks, [padding] * 4), boxes.to(masks), windows.tolist(), strict=True):
        x, y = (torch.arange(window[i], window[i + 2]).to(masks) + 0.5 for i in (0, 1))
        x, y = ((at - box[i]) / (box[i + 2] - box[i]) * 2 - 1 for i, at in ((0, x), (1, y)))
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)
        if grid.numel():
            values.append(F.grid_sample(mask[None, None], grid[None], align_corners=False).flatten())
    return torch.cat(values)


def paste_masks(
    masks: torch.Tensor, boxes: torch.Tensor, windows: torch.Tensor, threshold: float = 0.5, padding: int = 0
) -> torch.Tensor:
    """Which pixels of ``windows`` reach ``threshold``: ``(T,)`` uint8; see `mask_values`."""
    return (mask_values(masks, boxes, windows, padding) >= threshold).to(torch.uint8)
