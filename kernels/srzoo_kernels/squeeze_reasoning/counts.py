"""Floating-point operations of the block's operators, as ``torch.utils.flop_counter`` asks for them."""

import math

import torch
from torch.utils.flop_counter import flop_registry

from ..operators import NAMESPACE


def _flops_of(name: str, *shapes) -> int:
    """What another operator counts for operands of these shapes."""
    return flop_registry[getattr(getattr(torch.ops, NAMESPACE), name)](*shapes)


def _moment_flops(x_shape, transform_shape, adjacency_shape, weight_shape) -> int:
    """Of ``S``, of ``W_t S``, and of the reasoning."""
    n, c = x_shape[:2]
    reduced = transform_shape[0]
    reasoning = _flops_of("graph_reason", (n, reduced), adjacency_shape, weight_shape)
    return _flops_of("gram", x_shape) + 2 * n * reduced * c * c + reasoning


def block_flops(x_shape, transform_shape, pair_shape, project_shape, *squares, out_shape=None, **kwargs) -> int:
    """Those of `gram`, `graph_reason` and `channel_affine`, and of the products between them."""
    n, c = x_shape[:2]
    matrix = 2 * n * c * transform_shape[0] * c
    return _moment_flops(x_shape, transform_shape, *squares) + matrix + _flops_of("channel_affine", x_shape)


def block_gradient_flops(grad_shape, x_shape, transform_shape, pair_shape, project_shape, *others, **kwargs) -> int:
    """Those of the gradients of `gram`, `graph_reason` and `channel_affine`, and of the products between them."""
    n, c = x_shape[:2]
    reduced, squares, with_map = transform_shape[0], others[:2], others[-1]
    vector = (n, reduced)
    reasoning = _flops_of("graph_reason_backward", vector, vector, *squares)
    maps = _flops_of("channel_affine", x_shape) + _flops_of("gram_backward", x_shape) if with_map else 0
    products = (4 + bool(with_map)) * 2 * n * c * reduced * c
    return reasoning + maps + _flops_of("channel_affine_backward", x_shape) + products


def weights_flops(
    x_shape, transform_shape, pair_shape, projected_shape, adjacency_shape, weight_shape, *args, **kwargs
) -> int:
    """Those of `gram` and `graph_reason`, and of the products of their weights."""
    change = 2 * x_shape[0] * math.prod(projected_shape) * x_shape[1]
    return _moment_flops(x_shape, transform_shape, adjacency_shape, weight_shape) + change
