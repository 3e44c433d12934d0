"""`channel_affine` as an operator: one affine map of the channels per image, added to its input."""

import torch

from ..checks import check_affine, check_finite
from ..launch import kernels_of, triton_multiplies
from ..layout import accumulation_dtype, dense, empty_map, widened_parts
from ..operators import is_transformed, register
from ..products.library import channel_map, multiplies_slowly
from . import reference


def channel_affine(x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``y = x + M x + b`` at every pixel, with one ``M`` and one ``b`` per image.

    This is the paper's reconstruction (Eq. 7) with its two 1x1 convolutions multiplied out:
    ``W_R (z * (W_t X)) = (W_R diag(z) W_t) X``. Autocast leaves ``x`` as it is.

    Args:
        x: ``(N, C, H, W)``, any floating dtype; contiguous and channels_last maps are read where they lie.
        matrix: ``(N, C, C)``, any floating dtype; rounded to ``x``'s before the product.
        bias: ``(N, C)``, any floating dtype, or None.

    Returns:
        A tensor of ``x``'s shape, dtype and memory format.

    Raises:
        ValueError: a shape does not fit ``x``'s, an operand is not floating, or on another device. On a CPU also where
            the matrix, rounded, or the bias is not finite; on a GPU that passes, as looking would wait for the device.
    """
    check_affine(x, matrix, bias)
    return reference.channel_affine(x, matrix, bias) if is_transformed() else _op(x, matrix, bias)


def _affine(x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    matrix = matrix.to(x.dtype)
    check_finite(matrix=matrix, bias=bias)
    if not triton_multiplies(x):
        return channel_map(x, matrix, bias, base=x)
    return kernels_of(__package__).channel_affine(x, matrix, bias)


def _affine_backward(
    grad: torch.Tensor, x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """``dM = dY X^T`` in the matrix's dtype, and ``db = dY 1`` in the bias's, or nothing ``(0,)`` without one."""
    grad_matrix, grad_bias = affine_gradients(grad, x, bias is not None)
    grad_bias = matrix.new_empty(0) if bias is None else grad_bias.to(bias.dtype)
    return grad_matrix.to(matrix.dtype), grad_bias


def affine_gradients(grad: torch.Tensor, x: torch.Tensor, with_bias: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """``dM = dY X^T`` ``(N, C, C)`` and, ``with_bias``, ``db = dY 1`` ``(N, C)``, not below the dtype of ``x``."""
    if triton_multiplies(x):
        return kernels_of(__package__).channel_affine_backward(grad, x, with_bias)
    rows, columns = (dense(each).flatten(2) for each in (grad, x))
    if multiplies_slowly(x):
        rows, columns = rows.float(), columns.float()
    grad_matrix = torch.bmm(rows, columns.mT)
    parts = widened_parts(rows, accumulation_dtype(x))
    return grad_matrix, sum(part.sum(2) for part in parts) if with_bias else None


def _gradient_fake(grad, x, matrix, bias):
    return matrix.new_empty(matrix.shape), matrix.new_empty(0) if bias is None else bias.new_empty(bias.shape)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad):
    x, matrix, bias = ctx.saved_tensors
    # dX = dY + M^T dY is the operator itself.
    grad_x = _op(grad, matrix.mT, None) if ctx.needs_input_grad[0] else None
    if not any(ctx.needs_input_grad[1:]):
        return grad_x, None, None
    grad_matrix, grad_bias = _gradient_op(grad, x, matrix, bias)
    return grad_x, grad_matrix, None if bias is None else grad_bias


def _flops(x_shape, *args, out_shape=None, **kwargs) -> int:
    """Two per multiply-add of one ``C x C`` matrix per pixel, in either direction."""
    n, c, h, w = x_shape
    return 2 * n * h * w * c * c


_gradient_op = register("channel_affine_backward", _affine_backward, fake=_gradient_fake, flops=_flops)
_op = register(
    "channel_affine",
    _affine,
    fake=lambda x, *operands: empty_map(x),
    flops=_flops,
    save=_save,
    backward=_differentiate,
)
