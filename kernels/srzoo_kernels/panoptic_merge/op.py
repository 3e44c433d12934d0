"""`panoptic_merge` as an operator: one segment for every pixel, from instances that overlap and a semantic map."""

import torch

from ..checks import check_same_device, check_whole, check_windows
from ..launch import triton_serves
from ..operators import register
from ..windows.flat import Window, read_windows, total_pixels
from .cpu import panoptic_merge_cpu

_LABELS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def panoptic_merge(
    pixels: torch.Tensor,
    windows: torch.Tensor,
    labels: torch.Tensor,
    is_stuff: torch.Tensor,
    overlap: float = 0.5,
    min_stuff_area: int = 4096,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Merge instances and the classes of a semantic head, as Panoptic FPN does (Kirillov et al., 2019, section 3).

    The instances are taken in their order. One of whose pixels more than the share ``overlap`` is claimed already, or
    which has none, is dropped; any other claims its pixels that are still free. The free pixels then get their stuff
    class, where as many of them as ``min_stuff_area`` have it, and are void elsewhere. The shares and areas are
    compared as in detectron2's ``combine_semantic_and_instance_outputs``, ``claimed / area > overlap`` in float64.

    All counts are of integers, so the result is the same on every device. Not differentiable.

    Args:
        pixels: ``(T,)`` uint8, the masks, not 0 where the instance is; as `paste_masks` returns them.
        windows: ``(N, 4)`` int64 on the CPU, as given to `paste_masks`, in order of falling score.
        labels: ``(H, W)``, the class of each pixel, ``0 .. C - 1``, any integer dtype.
        is_stuff: ``(C,)`` bool; a pixel of another class is void unless an instance claims it.
        overlap: in 0..1.
        min_stuff_area: in pixels, 0 or more.

    Returns:
        ids: ``(H, W)`` int32: 0 for void, ``i + 1`` for instance ``i``, ``N + 1 + c`` for the stuff class ``c``.
        areas: ``(N + C,)`` int64, the pixels in ``ids`` of each instance and stuff class; 0 for what was dropped.

    Raises:
        ValueError: a shape, dtype, device or option does not fit, a window is not within the image, or the windows do
            not have ``T`` pixels together. On a CPU also where a label is not a class; on a GPU such pixels count as
            void, as looking would wait for the device.
    """
    if pixels.dim() != 1 or pixels.dtype != torch.uint8:
        raise ValueError(f"expected pixels of shape (T,) in uint8, got {tuple(pixels.shape)} in {pixels.dtype}")
    check_windows(windows)
    if labels.dim() != 2 or labels.shape[0] == 0 or labels.shape[1] == 0:
        raise ValueError(f"expected labels of shape (H, W) of at least (1, 1), got {tuple(labels.shape)}")
    if labels.dtype not in _LABELS:
        raise ValueError(f"expected labels of an integer dtype, uint8 or int8 to int64, got {labels.dtype}")
    if is_stuff.dim() != 1 or len(is_stuff) == 0 or is_stuff.dtype != torch.bool:
        expected = "expected is_stuff of shape (C,) in bool with at least one class"
        raise ValueError(f"{expected}, got {tuple(is_stuff.shape)} in {is_stuff.dtype}")
    check_same_device(labels, pixels=pixels, is_stuff=is_stuff)
    if not 0 <= overlap <= 1:
        raise ValueError(f"overlap must be in 0..1, got {overlap}")
    check_whole(min_stuff_area=min_stuff_area)
    if min_stuff_area < 0:
        raise ValueError(f"min_stuff_area must be 0 or more, got {min_stuff_area}")
    return _op(labels, is_stuff, pixels, windows, float(overlap), min_stuff_area)


def _merge(
    labels: torch.Tensor,
    is_stuff: torch.Tensor,
    pixels: torch.Tensor,
    windows: torch.Tensor,
    overlap: float,
    min_stuff_area: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids, ``(H, W)`` int32, and the areas, ``(N + C,)`` int64."""
    found = read_windows(windows, tuple(labels.shape))
    _check_values(pixels, found, labels, len(is_stuff))
    if triton_serves(labels):
        from ._triton import panoptic_merge_triton

        return panoptic_merge_triton(pixels, found, labels, is_stuff, overlap, min_stuff_area)
    return panoptic_merge_cpu(pixels, found, labels, is_stuff, overlap, min_stuff_area)


def _check_values(pixels: torch.Tensor, windows: list[Window], labels: torch.Tensor, classes: int) -> None:
    if total_pixels(windows) != len(pixels):
        raise ValueError(f"expected {total_pixels(windows)} pixels for these {len(windows)} windows, got {len(pixels)}")
    if labels.device.type == "cpu":
        least, largest = (int(value) for value in labels.aminmax())
        if least < 0 or largest >= classes:
            wrong = least if least < 0 else largest
            count = int((labels == wrong).sum())
            raise ValueError(f"labels must be 0..{classes - 1} for is_stuff of {classes}, but {count} are {wrong}")


def _fake(labels, is_stuff, pixels, windows, overlap, min_stuff_area):
    segments = windows.shape[0] + is_stuff.shape[0]
    return labels.new_empty(labels.shape, dtype=torch.int32), labels.new_empty(segments, dtype=torch.int64)


_op = register("panoptic_merge", _merge, fake=_fake, detached=True)
