"""Eq. 5 and Eq. 6 with all nodes of an image in one program, forward and backward.

The products are float32 by FMA, never TF32: at 16 nodes of 16 channels they cost nothing, and the reasoning's output
multiplies every pixel of the map.
"""

import torch
import triton
import triton.language as tl

from ..launch import Launch, Target
from ..prepared.plan import launched


@triton.jit
def _matrix(pointer, height, width, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Load a contiguous ``height x width`` matrix in float32, padded with zeros."""
    row = tl.arange(0, HEIGHT)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    return tl.load(pointer + row * width + column, mask=(row < height) & (column < width), other=0.0).to(tl.float32)


@triton.jit
def _store(pointer, value, height, width, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    row = tl.arange(0, HEIGHT)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    inside = (row < height) & (column < width)
    tl.store(pointer + row * width + column, value.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def _relu(value):
    return tl.where(value < 0, 0.0, value)  # not a maximum, which would turn NaN into 0


@triton.jit
def _product(a, b):
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def graph_kernel(g, adjacency, weight, z, k, d, NODES: tl.constexpr, DIM: tl.constexpr):
    """``relu((I - A)^T G W^T)``, nodes as rows."""
    image = tl.program_id(0).to(tl.int64) * k * d
    nodes = _matrix(g + image, k, d, NODES, DIM)
    mixed = nodes - _product(tl.trans(_matrix(adjacency, k, k, NODES, NODES)), nodes)
    out = _relu(_product(mixed, tl.trans(_matrix(weight, d, d, DIM, DIM))))
    _store(z + image, out, k, d, NODES, DIM)


@triton.jit
def graph_backward_kernel(
    grad, g, adjacency, weight, z, grad_g, grad_adjacency, grad_weight, k, d, NODES: tl.constexpr, DIM: tl.constexpr
):
    """Gradient of ``g``, and each image's share of the gradients of ``A`` ``(N, k, k)`` and ``W`` ``(N, d, d)``."""
    program = tl.program_id(0).to(tl.int64)
    image = program * k * d
    nodes = _matrix(g + image, k, d, NODES, DIM)
    a = _matrix(adjacency, k, k, NODES, NODES)
    passed = tl.where(_matrix(z + image, k, d, NODES, DIM) <= 0, 0.0, _matrix(grad + image, k, d, NODES, DIM))
    mixed = nodes - _product(tl.trans(a), nodes)
    _store(grad_weight + program * d * d, _product(tl.trans(passed), mixed), d, d, DIM, DIM)
    grad_mixed = _product(passed, _matrix(weight, d, d, DIM, DIM))
    _store(grad_adjacency + program * k * k, -_product(nodes, tl.trans(grad_mixed)), k, k, NODES, NODES)
    _store(grad_g + image, grad_mixed - _product(a, grad_mixed), k, d, NODES, DIM)


@triton.jit
def attention_kernel(g, query, key, value, z, k, d, NODES: tl.constexpr, DIM: tl.constexpr):
    """``relu((G Q^T K G^T)^T G V^T)``, nodes as rows."""
    image = tl.program_id(0).to(tl.int64) * k * d
    nodes = _matrix(g + image, k, d, NODES, DIM)
    queries = _product(nodes, tl.trans(_matrix(query, d, d, DIM, DIM)))
    keys = _product(nodes, tl.trans(_matrix(key, d, d, DIM, DIM)))
    values = _product(nodes, tl.trans(_matrix(value, d, d, DIM, DIM)))
    affinity_t = _product(keys, tl.trans(queries))
    _store(z + image, _relu(_product(affinity_t, values)), k, d, NODES, DIM)


@triton.jit
def attention_backward_kernel(
    grad,
    g,
    query,
    key,
    value,
    z,
    grad_g,
    grad_query,
    grad_key,
    grad_value,
    k,
    d,
    NODES: tl.constexpr,
    DIM: tl.constexpr,
):
    """Gradient of ``g``, and each image's share of the three weights' gradients, ``(N, d, d)``."""
    program = tl.program_id(0).to(tl.int64)
    image = program * k * d
    share = program * d * d
    nodes = _matrix(g + image, k, d, NODES, DIM)
    passed = tl.where(_matrix(z + image, k, d, NODES, DIM) <= 0, 0.0, _matrix(grad + image, k, d, NODES, DIM))
    queries = _product(nodes, tl.trans(_matrix(query, d, d, DIM, DIM)))
    keys = _product(nodes, tl.trans(_matrix(key, d, d, DIM, DIM)))
    values = _product(nodes, tl.trans(_matrix(value, d, d, DIM, DIM)))
    grad_affinity = _product(values, tl.trans(passed))
    # Each weight is read again where it is needed: holding three of them in registers would spill.
    grad_values = _product(_product(queries, tl.trans(keys)), passed)
    _store(grad_value + share, _product(tl.trans(grad_values), nodes), d, d, DIM, DIM)
    total = _product(grad_values, _matrix(value, d, d, DIM, DIM))
    grad_queries = _product(grad_affinity, keys)
    _store(grad_query + share, _product(tl.trans(grad_queries), nodes), d, d, DIM, DIM)
    total += _product(grad_queries, _matrix(query, d, d, DIM, DIM))
    grad_keys = _product(tl.trans(grad_affinity), queries)
    _store(grad_key + share, _product(tl.trans(grad_keys), nodes), d, d, DIM, DIM)
    total += _product(grad_keys, _matrix(key, d, d, DIM, DIM))
    _store(grad_g + image, total, k, d, NODES, DIM)


def _plan(kernel, tensors: dict[str, torch.Tensor], n: int, k: int, d: int, target: Target) -> Launch:
    nodes, dim = max(16, triton.next_power_of_2(k)), max(16, triton.next_power_of_2(d))
    warps = 8 if max(nodes, dim) > 32 else 4
    if target.warp_size == 64:
        warps //= 2
    return Launch(kernel, (n, 1, 1), tensors | {"k": k, "d": d}, {"NODES": nodes, "DIM": dim}, warps, 1)


def plan_graph_reason(g, adjacency, weight, target: Target) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The launch that fills ``z`` ``(N, k * d)``."""
    z = torch.empty_like(g)
    tensors = {"g": g, "adjacency": adjacency, "weight": weight, "z": z}
    return [_plan(graph_kernel, tensors, g.shape[0], len(adjacency), len(weight), target)], (z,)


def plan_graph_reason_backward(
    grad, g, adjacency, weight, z, target: Target
) -> tuple[list[Launch], tuple[torch.Tensor, ...]]:
    """The launch that fills the gradient of ``g`` and each image's float32 share of the other two."""
    n = g.shape[0]
    shares = [torch.empty((n, *m.shape), dtype=torch.float32, device=g.device) for m in (adjacency, weight)]
    grads = (torch.empty_like(g), *shares)
    tensors = {"grad": grad, "g": g, "adjacency": adjacency, "weight": weight, "z": z}
    tensors |= zip(("grad_g", "grad_adjacency", "grad_weight"), grads, strict=True)
    return [_plan(graph_backward_kernel, tensors, n, len(adjacency), len(weight), target)], grads


def plan_attention_reason(g, query, key, value, target: Target) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The launch that fills ``z`` ``(N, k * d)``."""
    z = torch.empty_like(g)
    d = len(value)
    tensors = {"g": g, "query": query, "key": key, "value": value, "z": z}
    return [_plan(attention_kernel, tensors, g.shape[0], g.shape[1] // d, d, target)], (z,)


def plan_attention_reason_backward(
    grad, g, query, key, value, z, target: Target
) -> tuple[list[Launch], tuple[torch.Tensor, ...]]:
    """The launch that fills the gradient of ``g`` and each image's float32 share of the other three."""
    n, d = g.shape[0], len(value)
    shares = [torch.empty((n, d, d), dtype=torch.float32, device=g.device) for _ in range(3)]
    grads = (torch.empty_like(g), *shares)
    tensors = {"grad": grad, "g": g, "query": query, "key": key, "value": value, "z": z}
    tensors |= zip(("grad_g", "grad_query", "grad_key", "grad_value"), grads, strict=True)
    return [_plan(attention_backward_kernel, tensors, n, g.shape[1] // d, d, target)], grads


def _contiguous(*operands: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(operand.contiguous() for operand in operands)


def _run_forward(plan, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return launched(plan, operands, laid_out=_contiguous)[0]


def _run_backward(plan, operands: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    grad_g, *shares = launched(plan, operands, laid_out=_contiguous)
    return grad_g, *(share.sum(0).to(grad_g.dtype) for share in shares)


def graph_reason(*operands: torch.Tensor) -> torch.Tensor:
    """``z`` of ``(g, adjacency, weight)``; see ``reference.py``."""
    return _run_forward(plan_graph_reason, operands)


def graph_reason_backward(*operands: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Gradients of ``g``, ``adjacency`` and ``weight``, from ``(grad, g, adjacency, weight, z)``."""
    return _run_backward(plan_graph_reason_backward, operands)


def attention_reason(*operands: torch.Tensor) -> torch.Tensor:
    """``z`` of ``(g, query, key, value)``; see ``reference.py``."""
    return _run_forward(plan_attention_reason, operands)


def attention_reason_backward(*operands: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Gradients of ``g``, ``query``, ``key`` and ``value``, from ``(grad, g, query, key, value, z)``."""
    return _run_backward(plan_attention_reason_backward, operands)
