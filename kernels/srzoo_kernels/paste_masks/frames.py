"""Where the masks of detections lie in an image: two conventions, as boxes and windows for `paste_masks`."""

import torch

from ..checks import check_boxes, check_size


def aligned_frames(boxes: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A mask covers its box, as in detectron2 and mmdet; for ``padding=0``.

    At a threshold below 0.5 those two may also set pixels outside the box, up to half a cell of the mask away.

    Args:
        boxes: ``(N, 4)``, ``x0, y0, x1, y1`` in pixels of the image, any floating dtype, any device.
        size: ``(H, W)`` of the image.

    Returns:
        ``boxes`` in float32, and ``(N, 4)`` int64 on the CPU, the windows: the pixels that a box touches, within the
        image. A box outside the image, or without width or height, has a window without pixels.

    Raises:
        ValueError: the shape or dtype does not fit, a side of ``size`` is below 1, or a box is not finite.
    """
    check_boxes(boxes)
    check_size(size)
    boxes = boxes.detach().float()
    exact = _on_cpu(boxes).double()  # in which every side of an image is exact
    starts, ends = exact[:, :2].floor(), exact[:, 2:].ceil()
    ends = torch.where(exact[:, 2:] > exact[:, :2], ends, starts)
    return boxes, _clipped(starts, ends, size)


def torchvision_frames(boxes: torch.Tensor, mask_side: int, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The frames of torchvision's ``paste_masks_in_image``; for ``padding=1``.

    torchvision pads a mask by a cell, expands the box by as much, truncates it to whole pixels and adds one to its
    sides.

    Args:
        boxes: ``(N, 4)``, ``x0, y0, x1, y1`` in pixels of the image, any floating dtype, any device.
        mask_side: ``M`` of the ``(N, M, M)`` masks.
        size: ``(H, W)`` of the image.

    Returns:
        The expanded boxes in float32, and ``(N, 4)`` int64 on the CPU, the windows: their pixels within the image. A
        box outside the image, for which torchvision fails or sets wrong pixels, has a window without pixels.

    Raises:
        ValueError: the shape or dtype does not fit, ``mask_side`` or a side of ``size`` is below 1, or a box is not
            finite.
    """
    check_boxes(boxes)
    check_size(size)
    if mask_side < 1:
        raise ValueError(f"mask_side must be at least 1, got {mask_side}")
    boxes = boxes.detach()
    # In this order, and in the boxes' dtype, or a rounding would move a box by a pixel.
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * ((mask_side + 2) / mask_side)
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    whole = torch.cat([centre - half, centre + half], 1)
    on_cpu = _on_cpu(whole).double().trunc()
    starts, ends = on_cpu[:, :2], on_cpu[:, 2:] + 1
    frames = torch.cat([starts, torch.maximum(ends, starts + 1)], 1)
    return frames.to(boxes.device, torch.float32), _clipped(starts, ends, size)


def _on_cpu(boxes: torch.Tensor) -> torch.Tensor:
    """The boxes, waiting for their device, so that they can be looked at."""
    boxes = boxes.cpu()
    finite = boxes.isfinite().all(1)
    if not finite.all():
        index = int(finite.logical_not().nonzero()[0])
        raise ValueError(f"boxes must be finite, got {boxes[index].tolist()} as box {index}; check the network")
    return boxes


def _clipped(starts: torch.Tensor, ends: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Windows within the image, from ``(N, 2)`` corners that may lie anywhere."""
    limit = starts.new_tensor([size[1], size[0]])
    starts, ends = (corner.clamp(min=0).minimum(limit) for corner in (starts, ends))
    return torch.cat([starts, ends.maximum(starts)], 1).long()
