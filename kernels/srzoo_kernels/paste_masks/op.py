"""`paste_masks` as an operator: the pixels of detected instances, within a window each, from small masks."""

import torch

from ..checks import check_boxes, check_finite, check_same_device, check_whole, check_windows, is_floating
from ..launch import triton_serves
from ..operators import register
from ..windows.flat import read_windows
from .cpu import paste_masks_cpu


def paste_masks(
    masks: torch.Tensor, boxes: torch.Tensor, windows: torch.Tensor, threshold: float = 0.5, padding: int = 0
) -> torch.Tensor:
    """Return the pixels of ``windows`` at which a mask, resized to its box, reaches ``threshold``.

    The value at a pixel ``x`` (likewise ``y``) is the bilinear sample of the mask, surrounded by zeros, at

        (x + 0.5 - x0) / (x1 - x0) * (M + 2 * padding) - 0.5 - padding

    With ``padding=0`` and the frames of `aligned_frames` this is ``paste_masks_in_image`` of detectron2, and what mmdet
    does; with ``padding=1`` and those of `torchvision_frames` it is torchvision's. A pixel is set where the value is
    ``>= threshold``, as in those two; torchvision itself returns the values, which its users compare by ``>``.

    Computed in float32. Not differentiable. The length of the result depends on the values of ``windows``, so
    ``torch.compile(fullgraph=True)`` needs ``torch._dynamo.config.capture_dynamic_output_shape_ops``.

    Args:
        masks: ``(N, M, M)``, probabilities, any floating dtype.
        boxes: ``(N, 4)``, ``x0, y0, x1, y1`` in pixels of the image, of any floating dtype; what the ``M + 2 *
            padding`` cells of a mask cover. A box without width or height sets no pixel.
        windows: ``(N, 4)`` int64 on the CPU, ``x0, y0, x1, y1`` in pixels, the ends excluded: what is computed.
        threshold: above 0, up to 1.
        padding: cells of zeros around a mask.

    Returns:
        ``(T,)`` uint8, 0 or 1, with ``T`` the sum of the windows' areas: each window row by row, one after another.

    Raises:
        ValueError: a shape, dtype, device or option does not fit, or a window ends before it begins or before 0. On a
            CPU also where ``masks`` or ``boxes`` are not finite; on a GPU these set some pixels or none, as looking
            would wait for the device.
    """
    if masks.dim() != 3 or masks.shape[1] != masks.shape[2] or masks.shape[1] == 0:
        raise ValueError(f"expected masks of shape (N, M, M), got {tuple(masks.shape)}")
    if not is_floating(masks):
        raise ValueError(f"expected floating masks, got {masks.dtype}; convert them first, e.g. masks.float()")
    check_boxes(boxes, len(masks))
    check_windows(windows, len(masks))
    check_same_device(masks, boxes=boxes)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, got {threshold}")
    check_whole(padding=padding)
    if padding < 0:
        raise ValueError(f"padding must be 0 or more, got {padding}")
    return _op(masks.detach(), boxes.detach(), windows, float(threshold), padding)


def _paste(
    masks: torch.Tensor, boxes: torch.Tensor, windows: torch.Tensor, threshold: float, padding: int
) -> torch.Tensor:
    """The pixels of all windows, ``(T,)`` uint8."""
    check_finite("detection", masks=masks, boxes=boxes)
    found = read_windows(windows)
    if triton_serves(masks):
        from ._triton import paste_masks_triton

        return paste_masks_triton(masks, boxes, found, threshold, padding)
    return paste_masks_cpu(masks, boxes, found, threshold, padding)


def _fake(masks, boxes, windows, threshold, padding):
    return masks.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.uint8)


def _flops(masks_shape, *args, out_shape=None, **kwargs) -> int:
    """Three linear interpolations (3 operations each) and one comparison per pixel."""
    return 10 * out_shape[0]


_op = register("paste_masks", _paste, fake=_fake, flops=_flops, detached=True)
