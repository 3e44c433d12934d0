"""The block with a gradient, as one operator and one for its backward.

The operators of its steps would be nine nodes of autograd that compute, and as many that reshape, each of some ten
microseconds of the host, while none but the first and the last take a GPU that long; and autograd would add up the two
gradients of the map in a pass of its own.
"""

import torch

from ..channel_affine.op import affine_gradients
from ..graph_reason.op import graph_backward
from ..launch import kernels_of, triton_multiplies
from ..layout import empty_map
from ..operators import register
from ..products.library import channel_map
from . import composed
from .checks import check_block
from .counts import block_flops, block_gradient_flops
from .limits import fits


def squeeze_reasoning_training(*operands: torch.Tensor) -> torch.Tensor:
    """``y`` of ``(x, transform, pair, project, adjacency, weight)``, differentiable once; see ``op.py``."""
    return _op(*operands)[0]


def _forward(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """``y``, the mean ``X X^T / HW``, ``g``, ``z``, and ``M`` in ``x``'s dtype."""
    if fits(x, transform, adjacency, weight):
        return kernels_of(__package__).squeeze_reasoning_training(x, transform, pair, project, adjacency, weight)
    check_block(x, transform, pair, project, adjacency, weight)
    return composed.block(x, transform, pair, project, adjacency, weight)


def _backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    second: torch.Tensor,
    g: torch.Tensor,
    z: torch.Tensor,
    matrix: torch.Tensor,
    with_map: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of ``x``, which is empty unless it is wanted ``with_map``, and of the five weights."""
    (n, reduced), c, wide = g.shape, x.shape[1], second.dtype
    t, b, p = (each.flatten(1).to(wide) for each in (transform, pair, project))
    # Y = X + M X, with M = W_R diag(z) W_t.
    grad_matrix = affine_gradients(grad, x, False)[0].to(wide)  # (N, C, C)
    left = grad_matrix @ t.mT  # (N, C, R)
    grad_p = (left * z[:, None, :]).sum(0)
    grad_z = (left * p).sum(1)
    grad_g, grad_adjacency, grad_weight = graph_backward(grad_z, g, adjacency.to(wide), weight.to(wide), z)
    # g_r = t_r S b_r, with S = X X^T / HW, which is symmetric.
    through_t, through_b = (each.mT * grad_g[:, None, :] for each in (t, b))  # (N, C, R)
    # One product adds up the images' shares.
    from_map, from_t, from_b = (each.reshape(n * c, reduced).mT for each in (p * z[:, None, :], through_t, through_b))
    moments = second.view(n * c, c)
    grad_t = from_map @ grad_matrix.view(n * c, c) + from_b @ moments
    grad_b = from_t @ moments
    grad_x = x.new_empty(0)
    if with_map:
        grad_second = through_t @ b
        symmetric = (grad_second + grad_second.mT) / (x.shape[2] * x.shape[3])
        grad_x = _map_gradient(grad, x, matrix, symmetric)
    grads = (grad_t, grad_b, grad_p, grad_adjacency, grad_weight)
    weights = (transform, pair, project, adjacency, weight)
    return grad_x, *(found.view(each.shape).to(each.dtype) for found, each in zip(grads, weights, strict=True))


def _map_gradient(grad: torch.Tensor, x: torch.Tensor, matrix: torch.Tensor, symmetric: torch.Tensor) -> torch.Tensor:
    """``dY + M^T dY + (dS + dS^T) X``."""
    if triton_multiplies(x):
        return kernels_of(__package__).map_gradient(grad, x, matrix, symmetric.float())
    return channel_map(x, symmetric, base=channel_map(grad, matrix.mT, base=grad))


def _fake(*operands: torch.Tensor) -> tuple[torch.Tensor, ...]:
    check_block(*operands)
    x, transform = operands[:2]
    (n, c), reduced, wide = x.shape[:2], transform.shape[0], composed.wide_dtype(x, transform)
    numbers = [x.new_empty(shape, dtype=wide) for shape in ((n, c, c), (n, reduced), (n, reduced))]
    return empty_map(x), *numbers, x.new_empty(n, c, c)


def _gradient_fake(grad: torch.Tensor, x: torch.Tensor, *others) -> tuple[torch.Tensor, ...]:
    weights, with_map = others[:5], others[-1]
    return empty_map(x) if with_map else x.new_empty(0), *(each.new_empty(each.shape) for each in weights)


def _save(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs, *output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _differentiate(ctx, grad, *others) -> tuple[torch.Tensor | None, ...]:
    if grad is None:
        return (None,) * 6
    with_map, *with_weights = ctx.needs_input_grad
    grad_x, *grads = _gradient_op(grad, *ctx.saved_tensors, with_map)
    return grad_x if with_map else None, *(each if wanted else None for each, wanted in zip(grads, with_weights))


_gradient_op = register(
    "squeeze_reasoning_training_backward", _backward, fake=_gradient_fake, flops=block_gradient_flops
)
_op = register(
    "squeeze_reasoning_training", _forward, fake=_fake, flops=block_flops, save=_save, backward=_differentiate
)
