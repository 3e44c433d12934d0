"""The merge on a CPU, in PyTorch's own operations: an instance reads and writes its window alone."""

from collections.abc import Sequence

import torch

from ..windows.flat import Window


def panoptic_merge_cpu(
    pixels: torch.Tensor,
    windows: Sequence[Window],
    labels: torch.Tensor,
    is_stuff: torch.Tensor,
    overlap: float,
    min_stuff_area: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The operator without Triton; arguments and results as `op._merge` has them."""
    ids = torch.zeros(labels.shape, dtype=torch.int32, device=labels.device)
    free = torch.ones(labels.shape, dtype=torch.bool, device=labels.device)
    areas = [0] * len(windows)
    for index, window in enumerate(windows):
        mask = window.of(pixels) != 0
        area = int(torch.count_nonzero(mask))
        if area == 0:
            continue
        unclaimed = window.inside(free)
        new = mask & unclaimed
        gained = int(torch.count_nonzero(new))
        if (area - gained) / area > overlap:
            continue
        window.inside(ids).add_(new, alpha=index + 1)  # to zeros, four times as fast as filling
        unclaimed ^= new
        areas[index] = gained
    stuff = _add_stuff(ids, free, labels, is_stuff, len(windows) + 1, min_stuff_area)
    return ids, torch.cat([stuff.new_tensor(areas), stuff])


def _add_stuff(
    ids: torch.Tensor, free: torch.Tensor, labels: torch.Tensor, is_stuff: torch.Tensor, first: int, least: int
) -> torch.Tensor:
    """Give the ``free`` pixels the ids from ``first`` on of their stuff classes; returns these areas, ``(C,)``."""
    classes = len(is_stuff)
    if labels.is_cuda:  # a CPU has checked them
        free &= (labels >= 0) & (labels < classes)
    # From here 0 stands for the pixels that get none, and c + 1 for class c.
    labels = labels.to(torch.int32, copy=True).add_(1).mul_(free).flatten()
    area = torch.bincount(labels, minlength=classes + 1)[1:]
    kept = is_stuff & (area >= least)
    segment = torch.arange(first, first + classes, dtype=ids.dtype, device=ids.device) * kept
    ids += torch.cat([segment.new_zeros(1), segment]).index_select(0, labels).view_as(ids)
    return area * kept
