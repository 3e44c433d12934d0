"""Launches of `gram` and of its gradient."""

import torch

from ..launch import Launch, Target, run, target_of
from ..layout import dense, empty_map
from ..products._triton import plan_channel_map, plan_mirrored_sum, plan_pixel_product


def plan_gram(x: torch.Tensor, target: Target) -> tuple[list[Launch], torch.Tensor, torch.Tensor]:
    """Launches that fill ``S`` ``(N, C, C)`` and ``m`` ``(N, C)``, for a dense ``x``."""
    product, parts, part_sums = plan_pixel_product(x, x, target, symmetric=True)
    if len(parts) == 1:
        return [product], parts[0], part_sums[0]
    mirrored, second, first = plan_mirrored_sum(parts, part_sums, target)
    return [product, mirrored], second, first


def gram(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``S = X X^T`` and ``m = X 1``; see ``reference.py``."""
    x = dense(x)
    launches, second, first = plan_gram(x, target_of(x))
    run(launches, x)
    return second, first


def gram_backward(x: torch.Tensor, symmetric: torch.Tensor, grad_first: torch.Tensor) -> torch.Tensor:
    """``G X + dm 1^T`` with ``G = dS + dS^T`` ``(N, C, C)``, in one pass over ``x``."""
    x = dense(x)
    grad = empty_map(x)
    matrix = symmetric.to(x.dtype).contiguous()
    run([plan_channel_map(x, matrix, grad_first.contiguous(), grad, False, target_of(x))], x)
    return grad
