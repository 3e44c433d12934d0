"""`upsample_bilinear` as an operator: logits at full resolution, where they are wanted without a gradient."""

import math

import torch

from ..bilinear.tiles import triton_resizes
from ..checks import check_logits, check_size
from ..launch import kernels_of
from ..operators import is_transformed, register
from .reference import upsample_bilinear as _library


def upsample_bilinear(logits: torch.Tensor, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    """Resize ``logits`` as ``interpolate(logits, size, mode="bilinear")`` does.

    Triton computes it where it serves the device and no gradient is wanted, in float32 (float64 for float64 logits) and
    with one rounding. Elsewhere it is the library's resize itself, with its gradient, and so it is in what is compiled,
    exported, traced or transformed: Inductor fuses the library's with what surrounds it.

    Args:
        logits: ``(N, K, h, w)``, any floating dtype, contiguous or channels_last. Where one is not finite, Triton's
            result may be NaN for the 8 x 128 outputs around.
        size: ``(H, W)`` of the result.
        align_corners: as in ``torch.nn.functional.interpolate``.

    Returns:
        ``(N, K, H, W)`` of ``logits``'s dtype. Triton's is contiguous, the library's in the format of ``logits``.

    Raises:
        ValueError: ``logits`` is not a floating ``(N, K, h, w)`` tensor, has no class or no pixel, or a side of
            ``size`` is below 1.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # or exporting; sides may be no numbers
        return _library(logits, size, align_corners)
    check_logits(logits)
    check_size(size)
    is_differentiated = logits.requires_grad and torch.is_grad_enabled()
    if not triton_resizes(logits, size[0]) or is_differentiated or is_transformed():
        return _library(logits, size, align_corners)
    return _op(logits, *size, align_corners)


def _resize(logits: torch.Tensor, height: int, width: int, align_corners: bool) -> torch.Tensor:
    """``(N, K, H, W)``, contiguous."""
    if triton_resizes(logits, height):
        return kernels_of(__package__).upsample_bilinear_triton(logits, height, width, align_corners)
    return _library(logits, (height, width), align_corners).contiguous()


def _fake(logits, height, width, align_corners):
    return logits.new_empty((*logits.shape[:2], height, width))


def _flops(logits_shape, height, width, *args, out_shape=None, **kwargs) -> int:
    """One linear interpolation (3 operations) per output; the other two are shared between outputs and left out."""
    return 3 * math.prod(out_shape)


_op = register("upsample_bilinear", _resize, fake=_fake, flops=_flops, detached=True)
