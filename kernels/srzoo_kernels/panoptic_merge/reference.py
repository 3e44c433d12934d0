"""Instances and semantic classes merged over full frames, an instance at a time, as detectron2 has it."""

import torch


def panoptic_merge(
    pixels: torch.Tensor,
    windows: torch.Tensor,
    labels: torch.Tensor,
    is_stuff: torch.Tensor,
    overlap: float = 0.5,
    min_stuff_area: int = 4096,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``combine_semantic_and_instance_outputs`` of detectron2, with ids that say what a segment is.

    Arguments and results as the operator has them: ids ``(H, W)`` int32 and areas ``(N + C,)`` int64.
    """
    masks = torch.zeros(len(windows), *labels.shape, dtype=torch.bool, device=labels.device)
    start = 0
    for mask, (left, top, right, bottom) in zip(masks, windows.tolist(), strict=True):
        area = (right - left) * (bottom - top)
        mask[top:bottom, left:right] = pixels[start : start + area].view(bottom - top, right - left) > 0
        start += area
    ids = merge_frames(masks, labels, is_stuff, overlap, min_stuff_area)
    areas = [(ids == segment).sum() for segment in range(1, len(windows) + len(is_stuff) + 1)]
    return ids, torch.stack(areas)


def merge_frames(
    masks: torch.Tensor, labels: torch.Tensor, is_stuff: torch.Tensor, overlap: float = 0.5, min_stuff_area: int = 4096
) -> torch.Tensor:
    """The ids, from full frames ``(N, H, W)`` of bool."""
    ids = torch.zeros_like(labels, dtype=torch.int32)
    for index, mask in enumerate(masks):
        mask_area = mask.sum().item()
        if mask_area == 0:
            continue
        intersect_area = (mask & (ids > 0)).sum().item()
        if intersect_area / mask_area > overlap:
            continue
        ids[mask & (ids == 0)] = index + 1

    unclaimed = ids == 0
    for label in is_stuff.nonzero()[:, 0].tolist():
        mask = (labels == label) & unclaimed
        if mask.sum().item() >= min_stuff_area:
            ids[mask] = len(masks) + 1 + label
    return ids
