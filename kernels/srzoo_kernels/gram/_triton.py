"""Launches of `gram` and of its gradient."""

import torch

from ..launch import Launch, Target
from ..layout import dense, empty_map
from ..prepared.plan import launched
from ..products._triton import plan_channel_map, plan_mirrored_sum, plan_pixel_product
from ..products.library import scaled


def plan_gram(x: torch.Tensor, target: Target) -> tuple[list[Launch], tuple[torch.Tensor, torch.Tensor]]:
    """Launches that fill ``S`` ``(N, C, C)`` and ``m`` ``(N, C)``, for a dense ``x``."""
    product, parts, part_sums = plan_pixel_product(x, x, target, symmetric=True)
    if len(parts) == 1:
        return [product], (parts[0], part_sums[0])
    mirrored, second, first = plan_mirrored_sum(parts, part_sums, target)
    return [product, mirrored], (second, first)


def plan_gram_backward(
    x: torch.Tensor, matrix: torch.Tensor, grad_first: torch.Tensor, scale: torch.Tensor | None, target: Target
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The launch that fills the gradient of a dense ``x``; ``matrix``, ``dS + dS^T``, has its dtype.

    ``scale`` ``(N,)`` float32 or None multiplies it. ``grad_first`` ``(N, C)`` and ``scale`` are contiguous.
    """
    grad = empty_map(x)
    return [plan_channel_map(x, matrix, grad, target, bias=grad_first, scale=scale)], (grad,)


def gram(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``S = X X^T`` and ``m = X 1``; see ``reference.py``."""
    return launched(plan_gram, (x,), laid_out=lambda x: (dense(x),))


def gram_backward(x: torch.Tensor, symmetric: torch.Tensor, grad_first: torch.Tensor) -> torch.Tensor:
    """``(dS + dS^T) X + dm 1^T`` in one pass over ``x``, given ``dS + dS^T`` ``(N, C, C)``."""
    # Symmetric, so any strides of the matrix are as good as contiguous ones.
    matrix, scale = scaled(symmetric, x.dtype)
    return launched(plan_gram_backward, (dense(x), matrix, grad_first.contiguous(), scale))[0]
