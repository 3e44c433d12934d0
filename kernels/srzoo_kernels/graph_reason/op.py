"""`graph_reason` and `attention_reason` as operators: reasoning between the nodes of the squeezed vector."""

import torch

from ..checks import check_finite, check_nodes, check_same_device, check_same_dtype, check_square
from ..launch import kernels_of, triton_multiplies
from ..operators import is_transformed, register
from . import reference

_MAX_SIDE = 64  # nodes or channels of a node that a Triton program holds; beyond that PyTorch's products run


def graph_reason(g: torch.Tensor, adjacency: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Eq. 5 of the paper, ``relu(W_g G (I - A_g))``, with the ``k`` nodes as the columns of ``G`` (``d x k``).

    Computed in float32 for half precisions, and under autocast. Differentiable once.

    Args:
        g: ``(N, k * d)``, the squeezed vector; node after node.
        adjacency: ``(k, k)``, ``A_g``, of ``g``'s dtype.
        weight: ``(d, d)``, ``W_g``, of ``g``'s dtype.

    Returns:
        ``(N, k * d)``, laid out as ``g``.

    Raises:
        ValueError: the length of ``g`` is not ``k * d``, a matrix is not square, or dtypes or devices are mixed. On a
            CPU also where ``g`` is not finite; on a GPU that passes, as looking at it would wait for the device.
    """
    check_square(adjacency=adjacency, weight=weight)
    check_nodes(g, weight.shape[0], nodes=adjacency.shape[0])
    check_same_device(g, adjacency=adjacency, weight=weight)
    if is_transformed():
        return reference.graph_reason(*_widen(g, adjacency, weight)).to(g.dtype)
    return _graph_op(g, adjacency, weight)


def attention_reason(g: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Eq. 6 of the paper, ``relu(rho(G) [phi(G)^T theta(G)])``, without a softmax, as printed.

    Computed in float32 for half precisions, and under autocast. Differentiable once.

    Args:
        g: ``(N, k * d)``, the squeezed vector; node after node.
        query, key, value: ``(d, d)``, the weights of ``phi``, ``theta`` and ``rho``, of ``g``'s dtype.

    Returns:
        ``(N, k * d)``, laid out as ``g``.

    Raises:
        ValueError: the length of ``g`` is not a multiple of ``d``, a matrix is not ``(d, d)``, or dtypes or devices
            are mixed. On a CPU also where ``g`` is not finite, as for `graph_reason`.
    """
    check_square(query=query, key=key, value=value)
    if not query.shape == key.shape == value.shape:
        shapes = [tuple(each.shape) for each in (query, key, value)]
        raise ValueError(f"expected query, key and value of one shape, got {shapes}")
    check_nodes(g, value.shape[0])
    check_same_device(g, query=query, key=key, value=value)
    if is_transformed():
        return reference.attention_reason(*_widen(g, query, key, value)).to(g.dtype)
    return _attention_op(g, query, key, value)


def _widen(*operands: torch.Tensor) -> list[torch.Tensor]:
    """The operands in float32, or in float64 if they are."""
    return [operand.to(torch.promote_types(operand.dtype, torch.float32)) for operand in operands]


def _own(z: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A tensor of its own, since autograd refuses operations in place on an operator's view."""
    return z.to(dtype, copy=True)


def _fits(g: torch.Tensor, dim: int) -> bool:
    return triton_multiplies(g) and max(dim, g.shape[1] // dim) <= _MAX_SIDE


def _graph(g: torch.Tensor, adjacency: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    check_same_dtype(g, adjacency, weight)  # here and not before the call: autocast may mix dtypes, and mends them
    check_finite(g=g)
    if _fits(g, len(weight)):
        return kernels_of(__package__).graph_reason(g, adjacency, weight)
    return _own(reference.graph_reason(*_widen(g, adjacency, weight)), g.dtype)


def graph_backward(
    grad: torch.Tensor, g: torch.Tensor, adjacency: torch.Tensor, weight: torch.Tensor, z: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of ``g``, ``adjacency`` and ``weight`` of `graph_reason`, given ``z`` and its gradient."""
    if _fits(g, len(weight)):
        return kernels_of(__package__).graph_reason_backward(grad, g, adjacency, weight, z)
    dtype, shape = g.dtype, (len(adjacency), len(weight))
    grad, g, adjacency, weight = _widen(grad, g, adjacency, weight)
    nodes = g.unflatten(1, shape)
    passed = grad.masked_fill(z <= 0, 0).unflatten(1, shape)
    mixed = nodes - adjacency.mT @ nodes
    grad_weight = torch.einsum("nki,nkj->ij", passed, mixed)
    grad_mixed = passed @ weight
    grad_adjacency = -torch.einsum("nid,njd->ij", nodes, grad_mixed)
    grad_g = (grad_mixed - adjacency @ grad_mixed).flatten(1)
    return grad_g.to(dtype), grad_adjacency.to(dtype), grad_weight.to(dtype)


def _attention(g: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    check_same_dtype(g, query, key, value)
    check_finite(g=g)
    if _fits(g, len(value)):
        return kernels_of(__package__).attention_reason(g, query, key, value)
    return _own(reference.attention_reason(*_widen(g, query, key, value)), g.dtype)


def _attention_backward(
    grad: torch.Tensor, g: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, z: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    if _fits(g, len(value)):
        return kernels_of(__package__).attention_reason_backward(grad, g, query, key, value, z)
    dtype, shape = g.dtype, (-1, len(value))
    grad, g, query, key, value = _widen(grad, g, query, key, value)
    nodes = g.unflatten(1, shape)
    passed = grad.masked_fill(z <= 0, 0).unflatten(1, shape)
    queries, keys, values = nodes @ query.mT, nodes @ key.mT, nodes @ value.mT
    grad_affinity = values @ passed.mT
    grads = (grad_affinity @ keys, grad_affinity.mT @ queries, (queries @ keys.mT) @ passed)
    grad_g = sum(each @ matrix for each, matrix in zip(grads, (query, key, value), strict=True)).flatten(1)
    grad_matrices = (torch.einsum("nki,nkj->ij", each, nodes) for each in grads)
    return tuple(each.to(dtype) for each in (grad_g, *grad_matrices))


def _graph_flops(g_shape, adjacency_shape, weight_shape, *args, out_shape=None, **kwargs) -> int:
    """``k^2 d`` multiply-adds for ``G A`` and ``k d^2`` for the weight, per image."""
    n, k, d = g_shape[0], adjacency_shape[0], weight_shape[0]
    return 2 * n * k * d * (k + d)


def _graph_gradient_flops(grad_shape, g_shape, adjacency_shape, weight_shape, *args, **kwargs) -> int:
    """Three products with the nodes' matrix (one recomputed) and two with the weight's."""
    n, k, d = g_shape[0], adjacency_shape[0], weight_shape[0]
    return 2 * n * k * d * (3 * k + 2 * d)


def _attention_flops(g_shape, query_shape, *args, out_shape=None, **kwargs) -> int:
    """Three products with a weight and two between the nodes, per image."""
    n, d = g_shape[0], query_shape[0]
    k = g_shape[1] // d
    return 2 * n * k * d * (3 * d + 2 * k)


def _attention_gradient_flops(grad_shape, g_shape, query_shape, *args, **kwargs) -> int:
    """Nine products with a weight's side (three recomputed) and five between the nodes (one recomputed)."""
    n, d = g_shape[0], query_shape[0]
    k = g_shape[1] // d
    return 2 * n * k * d * (9 * d + 5 * k)


def _fake(g, *matrices):
    check_same_dtype(g, *matrices)
    return g.new_empty(g.shape)


def _gradient_fake(grad, *operands):
    *operands, _ = operands
    return tuple(each.new_empty(each.shape) for each in operands)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs, output)


def _register(name: str, kernel, kernel_flops, gradient, gradient_flops):
    """Register ``kernel`` of ``(g, *matrices)`` and ``gradient`` of ``(grad, g, *matrices, z)``; returns the former."""
    gradient_op = register(f"{name}_backward", gradient, fake=_gradient_fake, flops=gradient_flops)
    return register(
        name,
        kernel,
        fake=_fake,
        flops=kernel_flops,
        save=_save,
        backward=lambda ctx, grad: gradient_op(grad, *ctx.saved_tensors),
        # The reasoning's output multiplies every pixel, and is the cheapest step to keep exact.
        autocast=torch.float32,
    )


_graph_op = _register("graph_reason", _graph, _graph_flops, graph_backward, _graph_gradient_flops)
_attention_op = _register(
    "attention_reason", _attention, _attention_flops, _attention_backward, _attention_gradient_flops
)
