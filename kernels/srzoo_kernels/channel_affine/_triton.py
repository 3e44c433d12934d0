"""Launches of `channel_affine` and of the gradients of its matrix and bias."""

import torch

from ..launch import Launch, Target, run, target_of
from ..layout import dense, empty_map
from ..products._triton import plan_channel_map, plan_pixel_product


def plan_channel_affine(
    x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, target: Target
) -> tuple[Launch, torch.Tensor]:
    """The launch that fills ``y``, for a dense ``x``; ``matrix`` may be a transposed view."""
    y = empty_map(x)
    bias = None if bias is None else bias.contiguous()
    return plan_channel_map(x, matrix.to(x.dtype), y, target, bias=bias, residual=True), y


def plan_channel_affine_backward(
    grad: torch.Tensor, x: torch.Tensor, with_bias: bool, target: Target
) -> tuple[Launch, torch.Tensor, torch.Tensor]:
    """The launch that fills ``dM`` and ``db`` by split of the pixels, for dense maps."""
    return plan_pixel_product(grad, x, target, with_sums=with_bias)


def channel_affine(x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``x + M x + b``; see ``reference.py``."""
    x = dense(x)
    launch, y = plan_channel_affine(x, matrix, bias, target_of(x))
    run([launch], x)
    return y


def channel_affine_backward(
    grad: torch.Tensor, x: torch.Tensor, with_bias: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """``dM = dY X^T`` and, ``with_bias``, ``db = dY 1``, both float32; the splits are summed in their order."""
    grad, x = dense(grad), dense(x)
    launch, parts, part_sums = plan_channel_affine_backward(grad, x, with_bias, target_of(x))
    run([launch], x)
    return parts.sum(0), part_sums.sum(0) if with_bias else None
