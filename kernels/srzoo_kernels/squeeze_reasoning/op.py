"""The block as one operator, and folded into a convolution's weights as another."""

import torch

from ..autocast import without_autocast
from ..launch import kernels_of
from ..layout import empty_map
from ..operators import is_transformed, register
from . import composed
from .checks import check_block, check_folded
from .counts import block_flops, weights_flops
from .limits import fits
from .training import squeeze_reasoning_training


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
    `gram`, `graph_reason` and `channel_affine` in a row compute it. Statistics and reasoning are computed in float32,
    under autocast too. Differentiable once. Where no gradient is wanted, half precisions round ``I + M`` to ``x``'s
    dtype with Triton, with ``M = W_R diag(z) W_t``, unless deterministic algorithms are asked for; else they round
    ``M``.

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
            dtypes. On a CPU also where something on the way is not finite; on a GPU that passes, as looking would wait
            for the device.
    """
    if is_transformed():
        return without_autocast(composed.block)(x, transform, pair, project, adjacency, weight)[0]
    if torch.is_grad_enabled() and _any_requires_grad(x, transform, pair, project, adjacency, weight):
        return squeeze_reasoning_training(x, transform, pair, project, adjacency, weight)
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
        ValueError: as in `squeeze_reasoning`, or a gradient is wanted.
    """
    if torch.is_grad_enabled() and _any_requires_grad(x, transform, pair, projected, adjacency, weight, base):
        raise ValueError(
            "squeeze_reasoning_weights has no gradient, but an operand requires one: call it under torch.no_grad(), or "
            "take squeeze_reasoning and a convolution"
        )
    return _weights_op(x, transform, pair, projected, adjacency, weight, base)


def _any_requires_grad(*operands: torch.Tensor) -> bool:
    return any(each.requires_grad for each in operands)


def _block(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    if fits(x, transform, adjacency, weight):
        return kernels_of(__package__).squeeze_reasoning(x, transform, pair, project, adjacency, weight)
    check_block(x, transform, pair, project, adjacency, weight)
    return composed.block(x, transform, pair, project, adjacency, weight)[0]


def _weights(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    projected: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    base: torch.Tensor,
) -> torch.Tensor:
    if base.dim() == 4 and fits(x, transform, adjacency, weight):
        return kernels_of(__package__).squeeze_reasoning_weights(x, transform, pair, projected, adjacency, weight, base)
    check_folded(x, transform, pair, projected, adjacency, weight, base)
    z = composed.reasoned(x, transform, pair, adjacency, weight)[2].to(projected.dtype)
    change = (projected * z[:, None, :]) @ transform.flatten(1)  # (N, O * kh * kw, C)
    change = change.unflatten(1, (base.shape[0], *base.shape[2:])).permute(0, 1, 4, 2, 3)
    return _empty_weights(x, base).copy_(base + change)


def _empty_weights(x: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    strides = empty_map(base).stride()
    return x.new_empty_strided((x.shape[0], *base.shape), (base.numel(), *strides))


def _fake(*operands: torch.Tensor) -> torch.Tensor:
    check_block(*operands)
    return empty_map(operands[0])


def _weights_fake(*operands: torch.Tensor) -> torch.Tensor:
    check_folded(*operands)
    return _empty_weights(operands[0], operands[-1])


_op = register("squeeze_reasoning", _block, fake=_fake, flops=block_flops, detached=True)
_weights_op = register(
    "squeeze_reasoning_weights",
    _weights,
    fake=_weights_fake,
    flops=weights_flops,
    detached=True,
)
