"""`gram` as an operator: first and second moments of a feature map over its pixels."""

import torch

from ..checks import NonFiniteError, can_be_looked_at, check_feature_map, check_finite
from ..launch import kernels_of, triton_multiplies
from ..layout import accumulation_dtype, dense, empty_map, widened_parts
from ..operators import is_transformed, register
from ..products.library import channel_map
from . import reference

_ROWS = 128  # of S in one CPU product: fewer would come nearer to half the work, but BLAS copies its operands each time


def gram(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``S = X X^T`` and ``m = X 1``, with ``X`` the ``C x HW`` matrix of each image.

    Every squeeze of the paper is a function of these two: Hadamard pooling (Eq. 4) of ``T = W_t X`` and
    ``B = W_p X`` is ``g_c = w_t[c] S w_p[c]^T``, average pooling of ``T`` is ``W_t m / HW``.

    Half precisions are summed in float32, under autocast too, which leaves ``x`` as it is. Differentiable once.

    Args:
        x: ``(N, C, H, W)``, any floating dtype; contiguous and channels_last maps are read where they lie.

    Returns:
        ``S`` of shape ``(N, C, C)`` and ``m`` of shape ``(N, C)``, sums (not means) in float32, or in float64
        for a float64 ``x``.

    Raises:
        ValueError: ``x`` is not four-dimensional, not floating, or has no channels or no pixels. On a CPU also where
            a moment is not finite; on a GPU that passes, as looking at it would wait for the device.
    """
    check_feature_map(x)
    return reference.gram(x) if is_transformed() else _op(x)


def _gram(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if not triton_multiplies(x):
        second, first = _gram_in_torch(x)
    else:
        second, first = kernels_of(__package__).gram(x)
    _check_moments(x, second)
    return second, first


def _check_moments(x: torch.Tensor, second: torch.Tensor) -> None:
    """Refuse moments that are not finite, on a CPU; no entry of ``S`` or ``m`` outgrows the diagonal of ``S``."""
    if not can_be_looked_at(second):
        return
    finite = second.diagonal(dim1=1, dim2=2).isfinite().all(1)
    if not finite.all():
        check_finite(x=x)
        image = int(finite.logical_not().nonzero()[0])
        raise NonFiniteError(
            f"x is too large: the sum of its squares over the pixels of image {image}, whose largest number is "
            f"{x[image].abs().amax():.2g}, overflows {second.dtype}; scale it down"
        )


def _gram_backward(x: torch.Tensor, grad_second: torch.Tensor, grad_first: torch.Tensor) -> torch.Tensor:
    symmetric = grad_second + grad_second.mT
    if not triton_multiplies(x):
        return channel_map(x, symmetric, bias=grad_first)
    return kernels_of(__package__).gram_backward(x, symmetric, grad_first)


def _upper_rows(channels: int):
    """Row ranges of ``S``; each multiplies the channels from its first on."""
    return [(start, min(start + _ROWS, channels)) for start in range(0, channels, _ROWS)]


def _gram_in_torch(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    dtype = accumulation_dtype(x)
    matrix = dense(x).flatten(2)
    n, c, _ = matrix.shape
    second = torch.zeros(n, c, c, dtype=dtype, device=x.device)
    first = torch.zeros(n, c, dtype=dtype, device=x.device)
    # float32 even for bfloat16: half the products make up for the wider ones, and a bfloat16 bmm rounds S.
    for part in widened_parts(matrix, dtype):
        first += part.sum(2)
        for low, high in _upper_rows(c):
            second[:, low:high, low:] += torch.bmm(part[:, low:high], part[:, low:].mT)
    for low, high in _upper_rows(c):
        second[:, high:, low:high] = second[:, low:high, high:].mT
    return second, first


def _fake(x):
    n, c = x.shape[:2]
    dtype = accumulation_dtype(x)
    return x.new_empty(n, c, c, dtype=dtype), x.new_empty(n, c, dtype=dtype)


def _save(ctx, inputs, output):
    ctx.save_for_backward(inputs[0])


def _differentiate(ctx, grad_second, grad_first):
    return _gradient_op(ctx.saved_tensors[0], grad_second, grad_first)


def _flops(x_shape, *args, out_shape=None, **kwargs) -> int:
    """Two per multiply-add of the upper rows the CPU computes, as wide as a GPU's largest tiles."""
    n, c, h, w = x_shape
    return 2 * n * h * w * sum((high - low) * (c - low) for low, high in _upper_rows(c))


def _gradient_flops(x_shape, *args, out_shape=None, **kwargs) -> int:
    """One ``C x C`` matrix per pixel."""
    n, c, h, w = x_shape
    return 2 * n * h * w * c * c


_gradient_op = register("gram_backward", _gram_backward, fake=lambda x, *grads: empty_map(x), flops=_gradient_flops)
_op = register("gram", _gram, fake=_fake, flops=_flops, save=_save, backward=_differentiate)
