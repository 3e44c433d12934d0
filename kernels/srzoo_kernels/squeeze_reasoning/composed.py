"""The block by the operators of its steps, for what its kernels do not take."""

import torch

from ..channel_affine.op import channel_affine
from ..gram.op import gram
from ..graph_reason.op import graph_reason
from ..layout import accumulation_dtype


def wide_dtype(x: torch.Tensor, weight: torch.Tensor) -> torch.dtype:
    """Of the squeeze, the reasoning and the gradients of weights: float32 or float64."""
    return torch.promote_types(accumulation_dtype(x), weight.dtype)


def reasoned(
    x: torch.Tensor, transform: torch.Tensor, pair: torch.Tensor, adjacency: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The mean ``X X^T / HW`` ``(N, C, C)``, ``g`` ``(N, R)`` and ``z`` ``(N, R)``, in `wide_dtype`."""
    wide = wide_dtype(x, transform)
    second = gram(x)[0].to(wide) / (x.shape[2] * x.shape[3])
    t, b = (each.flatten(1).to(wide) for each in (transform, pair))
    # Not ``@``, which takes another product, and gives other bits, for a ``W_t`` that requires a gradient.
    g = (torch.bmm(t.expand(x.shape[0], -1, -1), second) * b).sum(2)
    return second, g, graph_reason(g, adjacency.to(wide), weight.to(wide))


def block(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """``y``, what `reasoned` gives, and ``M`` ``(N, C, C)`` in ``x``'s dtype."""
    second, g, z = reasoned(x, transform, pair, adjacency, weight)
    t, p = (each.flatten(1).to(z.dtype) for each in (transform, project))
    matrix = ((p * z[:, None, :]) @ t).to(x.dtype)
    return channel_affine(x, matrix), second, g, z, matrix
