"""`depthwise_conv2d` as an operator: its backward runs at the forward's speed on a CPU.

oneDNN has fast depthwise gradients for 3x3 kernels at dilation 1 and stride 1, and falls back to far slower code
elsewhere (in bfloat16 most of all). Everything here is therefore brought to that one case:

* the bfloat16 input gradient at stride 2 is a stride-1 convolution over the gradient with zeros put in between;
* dilation d is d x d undilated convolutions, each over every d-th row and column (space to batch);
* a 5x5 weight gradient is four overlapping 3x3 ones.

On a GPU the same holds of 5x5 kernels with a dilation alone, of channels_last maps: for EfficientNet-Lite0's layers of
1152 channels cuDNN's forward takes 1101 us on an H100, undilated 46 us for 672 channels (`convolutions_gpu.csv`).
"""

import math

import torch
from torch.nn import functional as F

from ..autocast import autocast_operands
from ..checks import check_whole
from ..layout import is_channels_last
from ..operators import is_transformed, register
from .reference import depthwise_conv2d as _library


def depthwise_conv2d(
    x: torch.Tensor, weight: torch.Tensor, stride: int = 1, padding: int = 0, dilation: int = 1
) -> torch.Tensor:
    """Convolve every channel with a filter of its own: ``conv2d`` with a fast CPU backward for 3x3 and 5x5 kernels.

    Under autocast computed in its dtype, as ``conv2d`` is. The fast cases are differentiable once.

    Args:
        x: ``(N, C, H, W)``, floating; fast when channels_last.
        weight: ``(C, 1, k, k)`` of ``x``'s dtype.
        stride, padding, dilation: in pixels, as in ``conv2d``, equal on both axes.

    Returns:
        ``(N, C, H', W')`` of ``x``'s dtype, ``H' = (H + 2 * padding - dilation * (k - 1) - 1) // stride + 1``. Cases
        outside the fast ones (another kernel size or one that is not square, several filters per channel, dilation
        with a stride or a padding that it does not divide, a padding above ``dilation * (k - 1)``, a GPU but for
        dilated 5x5 kernels of channels_last maps) run the library's code.

    Raises:
        ValueError: ``stride``, ``padding`` or ``dilation`` is no integer.
        RuntimeError: PyTorch's own, where a shape or a dtype does not fit.
    """
    check_whole(stride=stride, padding=padding, dilation=dilation)
    x, weight = autocast_operands(x, weight)
    k = weight.shape[-1]
    fits = x.dim() == 4 and weight.shape == (x.shape[1], 1, k, k) and padding <= dilation * (k - 1)
    is_fast = fits and k in (3, 5) and x.device.type == "cpu" and not is_transformed()
    if is_fast and dilation == 1:
        return _op(x, weight, stride, padding)
    is_slow_on_a_gpu = fits and k == 5 and x.device.type == "cuda" and is_channels_last(x)
    if (is_fast or is_slow_on_a_gpu) and dilation > 1 and stride == 1 and padding % dilation == 0:
        d = dilation
        h, w = x.shape[-2:]
        parts = _space_to_batch(F.pad(x, (0, -w % d, 0, -h % d)), d)
        y = _batch_to_space((_op if is_fast else _library)(parts, weight, 1, padding // d), d)
        lost = d * (k - 1) - 2 * padding
        return y[:, :, : h - lost, : w - lost]
    return _library(x, weight, stride, padding, dilation)


def _space_to_batch(x: torch.Tensor, d: int) -> torch.Tensor:
    """``(N, C, H, W)``, sides multiples of ``d``, to ``(d * d * N, C, H / d, W / d)``: every d-th pixel together."""
    n, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(n, h // d, d, w // d, d, c)
    return x.permute(2, 4, 0, 1, 3, 5).reshape(d * d * n, h // d, w // d, c).permute(0, 3, 1, 2)


def _batch_to_space(x: torch.Tensor, d: int) -> torch.Tensor:
    """The inverse: ``(d * d * N, C, H, W)`` to ``(N, C, d * H, d * W)``."""
    n, c, h, w = x.shape
    n //= d * d
    x = x.permute(0, 2, 3, 1).reshape(d, d, n, h, w, c).permute(2, 3, 0, 4, 1, 5)
    return x.reshape(n, d * h, d * w, c).permute(0, 3, 1, 2)


def _convolve(x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
    """``(N, C, H, W)`` and ``(C, 1, k, k)`` to ``(N, C, H', W')``, undilated."""
    return _library(x, weight, stride, padding)


def _convolve_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: int,
    padding: int,
    with_input: bool,
    with_weight: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of ``x`` and ``weight`` in their shapes, each ``(0,)`` unless asked for.

    ``grad`` is ``(N, C, H', W')``; ``padding <= k - 1``.
    """
    grad = grad.contiguous(memory_format=torch.channels_last)
    grad_x = _input_grad(grad, weight, x.shape, stride, padding) if with_input else x.new_empty(0)
    return grad_x, _weight_grad(x, grad, weight, stride, padding) if with_weight else x.new_empty(0)


def _input_grad(grad: torch.Tensor, weight: torch.Tensor, shape: torch.Size, stride: int, padding: int) -> torch.Tensor:
    """The gradient of an input of ``shape`` ``(N, C, H, W)``, from ``(N, C, H', W')``."""
    k = weight.shape[-1]
    if stride > 1 and grad.dtype == torch.bfloat16:
        # What a stride-1 convolution would have given, with zeros where the stride skips.
        height, width = (side + 2 * padding - k + 1 for side in shape[-2:])
        spread = grad.new_zeros(grad.shape[0], height, width, grad.shape[1]).permute(0, 3, 1, 2)
        spread[:, :, ::stride, ::stride] = grad
        grad = spread
    elif stride > 1:
        return torch.nn.grad.conv2d_input(shape, weight, grad, stride, padding, groups=shape[1])
    # The transpose of a convolution is one with the filter turned round, padded to give every input pixel.
    return _library(grad, weight.flip(2, 3), 1, k - 1 - padding)


def _weight_grad(x: torch.Tensor, grad: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
    """The gradient of the weight ``(C, 1, k, k)``, from ``x`` ``(N, C, H, W)`` and ``grad`` ``(N, C, H', W')``."""
    k = weight.shape[-1]
    if k == 3:
        return _weight_grad_3x3(x, grad, weight, stride, padding)
    x = F.pad(x, (padding,) * 4)
    total = torch.empty_like(weight)
    height, width = ((side - 1) * stride + 3 for side in grad.shape[-2:])  # what a 3x3 filter reads of x
    for top in (0, 2):
        for left in (0, 2):
            window = x[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
            part = _weight_grad_3x3(window, grad, weight[:, :, :3, :3], stride, 0)
            total[:, :, top : top + 3, left : left + 3] = part  # the shared row and column come out equal
    return total


def _weight_grad_3x3(x, grad, weight, stride, padding):
    """``(C, 1, 3, 3)``; of ``weight`` only the shape is read."""
    return torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], x.shape[1], [False, True, False]
    )[1]


def _save(ctx, inputs, output):
    x, weight, ctx.stride, ctx.padding = inputs
    ctx.save_for_backward(x, weight)


def _differentiate(ctx, grad):
    needed = ctx.needs_input_grad[:2]
    grads = _gradient_op(grad, *ctx.saved_tensors, ctx.stride, ctx.padding, *needed)
    return *(each if wanted else None for each, wanted in zip(grads, needed, strict=True)), None, None


def _flops(x_shape, weight_shape, *args, out_shape=None, **kwargs) -> int:
    """Two per multiply-add of one filter per output pixel."""
    return 2 * math.prod(out_shape) * weight_shape[-1] ** 2


def _gradient_flops(grad_shape, x_shape, weight_shape, stride, padding, with_input, with_weight, **kwargs) -> int:
    """One filter per pixel of each gradient asked for; a 5x5 weight's is four of 3x3. Zeros put in are left out."""
    taps = weight_shape[-1] ** 2
    pixels = math.prod(x_shape if stride == 1 else grad_shape)
    return 2 * (with_input * pixels * taps + with_weight * math.prod(grad_shape) * (36 if taps == 25 else taps))


_gradient_op = register("depthwise_conv2d_backward", _convolve_backward, fake=_convolve_backward, flops=_gradient_flops)
_op = register("depthwise_conv2d", _convolve, fake=_convolve, flops=_flops, save=_save, backward=_differentiate)
