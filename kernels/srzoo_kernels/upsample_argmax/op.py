"""`upsample_argmax` as an operator: labels at full resolution from logits at the network's."""

import torch

from ..bilinear.tiles import triton_resizes
from ..checks import check_logits, check_size
from ..launch import kernels_of
from ..layout import accumulation_dtype, label_dtype
from ..operators import register
from . import reference
from .cpu import upsample_argmax_cpu


def upsample_argmax(
    logits: torch.Tensor, size: tuple[int, int], align_corners: bool = False, return_probability: bool = False
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Return ``interpolate(logits, size, mode="bilinear").argmax(1)`` without the full-resolution logits.

    The interpolation is computed in float32 (float64 for float64 logits), so that half-precision logits give fewer
    ties than the library's. Not differentiable.

    Args:
        logits: ``(N, K, h, w)``, any floating dtype, contiguous or channels_last. Where they are not finite the
            label is some class id.
        size: ``(H, W)`` of the labels.
        align_corners: as in ``torch.nn.functional.interpolate``.
        return_probability: also return the winning class's softmax probability.

    Returns:
        ``(N, H, W)`` labels, uint8 for up to 256 classes, else int64; of equals the first class. They are the
        library's wherever the two largest logits differ by more than 1e-5. With ``return_probability`` also
        ``(N, H, W)`` float32.

    Raises:
        ValueError: ``logits`` is not a floating ``(N, K, h, w)`` tensor, has no class or no pixel, or a side of
            ``size`` is below 1.
    """
    check_logits(logits)
    check_size(size)
    labels, probability = _op(logits.detach(), *size, align_corners, return_probability)
    return (labels, probability) if return_probability else labels


def _labels(
    logits: torch.Tensor, height: int, width: int, align_corners: bool, return_probability: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels ``(N, H, W)`` and, if asked for, probabilities ``(N, H, W)``, else ``(0,)``."""
    if triton_resizes(logits, height):
        kernels = kernels_of(__package__)
        return kernels.upsample_argmax_triton(logits, height, width, align_corners, return_probability)
    if logits.device.type != "cpu":  # a GPU without Triton, or another device
        wide = logits.to(accumulation_dtype(logits))
        if return_probability:
            return reference.upsample_argmax(wide, (height, width), align_corners, True)
        return reference.upsample_argmax(wide, (height, width), align_corners), wide.new_empty(0, dtype=torch.float32)
    return upsample_argmax_cpu(logits, height, width, align_corners, return_probability)


def _fake(logits, height, width, align_corners, return_probability):
    shape = (logits.shape[0], height, width)
    probability = logits.new_empty(shape if return_probability else (0,), dtype=torch.float32)
    return logits.new_empty(shape, dtype=label_dtype(logits.shape[1])), probability


def _flops(logits_shape, height, width, *args, out_shape=None, **kwargs) -> int:
    """One linear interpolation (3 operations) and one comparison per pixel and class. What is shared between pixels
    (the other two interpolations) and what agreeing corners save is left out."""
    n, k = logits_shape[:2]
    return 4 * n * k * height * width


_op = register("upsample_argmax", _labels, fake=_fake, flops=_flops, detached=True)
