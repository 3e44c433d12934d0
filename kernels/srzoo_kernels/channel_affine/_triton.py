"""Launches of `channel_affine` and of the gradients of its matrix and bias."""

import torch

from ..launch import Launch, Target
from ..layout import dense, empty_map
from ..prepared.plan import launched
from ..products._triton import plan_channel_map, plan_pixel_product


def plan_channel_affine(
    x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, target: Target
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The launch that fills ``y``, for a dense ``x``.

    ``matrix`` has ``x``'s dtype and may be a transposed view; ``bias`` is contiguous.
    """
    y = empty_map(x)
    return [plan_channel_map(x, matrix, y, target, bias=bias, base=x)], (y,)


def plan_channel_affine_backward(
    grad: torch.Tensor, x: torch.Tensor, with_bias: bool, target: Target
) -> tuple[list[Launch], tuple[torch.Tensor, torch.Tensor]]:
    """The launch that fills ``dM`` and ``db`` by split of the pixels, for dense maps."""
    launch, parts, part_sums = plan_pixel_product(grad, x, target, with_sums=with_bias)
    return [launch], (parts, part_sums)


def _laid_out(x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None) -> tuple:
    return dense(x), matrix, None if bias is None else bias.contiguous()


def channel_affine(x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``x + M x + b``, with ``matrix`` in ``x``'s dtype; see ``reference.py``."""
    return launched(plan_channel_affine, (x, matrix, bias), laid_out=_laid_out)[0]


def channel_affine_backward(
    grad: torch.Tensor, x: torch.Tensor, with_bias: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """``dM = dY X^T`` and, ``with_bias``, ``db = dY 1``, both float32; the splits are summed in their order."""
    parts, part_sums = launched(plan_channel_affine_backward, (dense(grad), dense(x)), with_bias)
    return parts.sum(0), part_sums.sum(0) if with_bias else None
