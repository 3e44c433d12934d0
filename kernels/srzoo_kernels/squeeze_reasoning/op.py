"""The block as one operator, and folded into a convolution's weights as another, where no gradient is wanted."""

import math

import torch
from torch.utils.flop_counter import flop_registry

from ..channel_affine.op import channel_affine
from ..gram.op import gram
from ..graph_reason.op import graph_reason
from ..launch import kernels_of, triton_multiplies
from ..layout import empty_map
from ..operators import NAMESPACE, register
from .checks import check_block, check_folded

_WEIGHT_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
# What a program holds in registers: beyond these, code for each NVIDIA architecture spills.
_MAX_NODES, _MAX_NODE_CHANNELS, _MAX_PRODUCTS = 64, 32, 16384
_MAX_CHANNELS = 1024  # beyond, the one program that adds up the shares of the squeezed vector would read megabytes


def squeeze_reasoning(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    """Squeeze Reasoning (arXiv 2011.03308) with Hadamard squeeze and graph reasoning: ``Y = X + W_R (z * W_t X)``.

    ``g = mean((W_t X) * (W_p X))`` over the pixels (Eq. 4, as a mean), ``z = relu(W_g G (I - A_g))`` (Eq. 5), as
    `gram`, `graph_reason` and `channel_affine` in a row compute it. Not differentiable: for a gradient call those.
    Statistics and reasoning are computed in float32, under autocast too. With Triton, half precisions round ``I + M``
    to ``x``'s dtype, with ``M = W_R diag(z) W_t``, unless deterministic algorithms are asked for.

    Args:
        x: ``(N, C, H, W)``, any floating dtype; contiguous and channels_last maps are read where they lie.
        transform: ``(R, C)`` or ``(R, C, 1, 1)``, ``W_t``; any floating dtype, which the other weights have too.
        pair: likewise, ``W_p``.
        project: ``(C, R)`` or ``(C, R, 1, 1)``, ``W_R``.
        adjacency: ``(k, k)``, ``A_g``.
        weight: ``(d, d)``, ``W_g``, with ``k * d = R``.

    Returns:
        A tensor of ``x``'s shape, dtype and memory format.

    Raises:
        ValueError: a shape does not fit, an operand is not floating, on another device, or the weights have several
            dtypes; or a gradient is wanted. On a CPU also where something on the way is not finite; on a GPU that
            passes, as looking would wait for the device.
    """
    if torch.is_grad_enabled():
        _check_no_gradient(x, transform, pair, project, adjacency, weight)
    return _op(x, transform, pair, project, adjacency, weight)


def squeeze_reasoning_weights(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    projected: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    base: torch.Tensor,
) -> torch.Tensor:
    """The weights ``V + V M`` with which a convolution ``V`` gives ``V * squeeze_reasoning(x)``, for each image.

    ``M = W_R diag(z) W_t``, with ``z`` of `squeeze_reasoning`. Not differentiable.

    Args:
        x, transform, pair, adjacency, weight: as in `squeeze_reasoning`.
        projected: ``(O * kh * kw, R)``, ``V W_R`` with an output's ``kh * kw`` rows one after another.
        base: ``(O, C, kh, kw)``, ``V``, any floating dtype.

    Returns:
        ``(N, O, C, kh, kw)`` in ``x``'s dtype, every image with the strides of a dense ``base``.

    Raises:
        ValueError: as in `squeeze_reasoning`.
    """
    if torch.is_grad_enabled():
        _check_no_gradient(x, transform, pair, projected, adjacency, weight, base)
    return _weights_op(x, transform, pair, projected, adjacency, weight, base)


def _check_no_gradient(*operands: torch.Tensor) -> None:
    if any(each.requires_grad for each in operands):
        raise ValueError(
            "squeeze_reasoning has no gradient, but an operand requires one: call it under torch.no_grad(), or take "
            "gram, graph_reason and channel_affine"
        )


def _fits(x: torch.Tensor, transform: torch.Tensor, adjacency: torch.Tensor, weight: torch.Tensor) -> bool:
    shape = x.shape
    return (
        len(shape) == 4
        and shape[1] <= _MAX_CHANNELS
        and triton_multiplies(x)
        and adjacency.shape[0] <= _MAX_NODES
        and weight.shape[0] <= _MAX_NODE_CHANNELS
        and adjacency.shape[0] * weight.numel() <= _MAX_PRODUCTS  # of G^T and W_g
        and transform.dtype in _WEIGHT_DTYPES
    )


def _reasoned(x, transform, pair, adjacency, weight) -> torch.Tensor:
    """``z`` ``(N, R)`` by the operators that have a gradient."""
    second = gram(x)[0] / (x.shape[2] * x.shape[3])
    transform, pair = (each.flatten(1) for each in (transform, pair))
    g = ((transform.to(second.dtype) @ second) * pair.to(second.dtype)).sum(2).to(transform.dtype)
    return graph_reason(g, adjacency, weight)


def _block(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    if _fits(x, transform, adjacency, weight):
        return kernels_of(__package__).squeeze_reasoning(x, transform, pair, project, adjacency, weight)
    check_block(x, transform, pair, project, adjacency, weight)
    z = _reasoned(x, transform, pair, adjacency, weight)
    return channel_affine(x, (project.flatten(1) * z[:, None, :]) @ transform.flatten(1))


def _weights(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    projected: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    base: torch.Tensor,
) -> torch.Tensor:
    if _fits(x, transform, adjacency, weight):
        return kernels_of(__package__).squeeze_reasoning_weights(x, transform, pair, projected, adjacency, weight, base)
    check_folded(x, transform, pair, projected, adjacency, weight, base)
    z = _reasoned(x, transform, pair, adjacency, weight)
    change = (projected * z[:, None, :]) @ transform.flatten(1)  # (N, O * kh * kw, C)
    change = change.unflatten(1, (base.shape[0], *base.shape[2:])).permute(0, 1, 4, 2, 3)
    return _empty_weights(x, base).copy_(base + change)


def _empty_weights(x: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    strides = empty_map(base).stride()
    return x.new_empty_strided((x.shape[0], *base.shape), (base.numel(), *strides))


def _flops_of(name: str, *shapes) -> int:
    """What another operator counts for operands of these shapes."""
    return flop_registry[getattr(getattr(torch.ops, NAMESPACE), name)](*shapes)


def _moment_flops(x_shape, transform_shape, adjacency_shape, weight_shape) -> int:
    """Of ``S``, of ``W_t S``, and of the reasoning."""
    n, c = x_shape[:2]
    reduced = transform_shape[0]
    reasoning = _flops_of("graph_reason", (n, reduced), adjacency_shape, weight_shape)
    return _flops_of("gram", x_shape) + 2 * n * reduced * c * c + reasoning


def _flops(x_shape, transform_shape, pair_shape, project_shape, *squares, out_shape=None, **kwargs) -> int:
    """Those of `gram`, `graph_reason` and `channel_affine`, and of the products between them."""
    n, c = x_shape[:2]
    matrix = 2 * n * c * transform_shape[0] * c
    return _moment_flops(x_shape, transform_shape, *squares) + matrix + _flops_of("channel_affine", x_shape)


def _weights_flops(
    x_shape, transform_shape, pair_shape, projected_shape, adjacency_shape, weight_shape, *args, **kwargs
) -> int:
    """Those of `gram` and `graph_reason`, and of the products of their weights."""
    change = 2 * x_shape[0] * math.prod(projected_shape) * x_shape[1]
    return _moment_flops(x_shape, transform_shape, adjacency_shape, weight_shape) + change


def _fake(*operands: torch.Tensor) -> torch.Tensor:
    check_block(*operands)
    return empty_map(operands[0])


def _weights_fake(*operands: torch.Tensor) -> torch.Tensor:
    check_folded(*operands)
    return _empty_weights(operands[0], operands[-1])


_op = register("squeeze_reasoning", _block, fake=_fake, flops=_flops, detached=True)
_weights_op = register(
    "squeeze_reasoning_weights",
    _weights,
    fake=_weights_fake,
    flops=_weights_flops,
    detached=True,
)
