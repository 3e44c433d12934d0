"""Depthwise convolution whose backward runs at the forward's speed on a CPU.

oneDNN has fast depthwise gradients for 3x3 kernels at dilation 1 and stride 1, and falls back to far slower code
elsewhere (in bfloat16 most of all). Everything here is therefore brought to that one case:

* the bfloat16 input gradient at stride 2 is a stride-1 convolution over the gradient with zeros put in between;
* dilation d is d x d undilated convolutions, each over every d-th row and column (space to batch);
* a 5x5 weight gradient is four overlapping 3x3 ones.
"""

import torch
from torch.nn import functional as F

from .reference import depthwise_conv2d as _library


class _DepthwiseConv2d(torch.autograd.Function):
    """Undilated; ``padding <= k - 1``."""

    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return _library(x, weight, stride, padding)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = _input_grad(grad, weight, x.shape, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        grad_weight = _weight_grad(x, grad, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, None, None


def _input_grad(grad, weight, shape, stride, padding):
    k = weight.shape[-1]
    if stride > 1 and grad.dtype == torch.bfloat16:
        # What a stride-1 convolution would have given, with zeros where the stride skips.
        height, width = (side + 2 * padding - k + 1 for side in shape[-2:])
        spread = grad.new_zeros(grad.shape[0], height, width, grad.shape[1]).permute(0, 3, 1, 2)
        spread[:, :, ::stride, ::stride] = grad
        grad = spread
    elif stride > 1:
        return torch.nn.grad.conv2d_input(shape, weight, grad, stride, padding, groups=shape[1])
    return _library(grad, weight.flip(2, 3), 1, k - 1 - padding)


def _weight_grad(x, grad, weight, stride, padding):
    k = weight.shape[-1]
    if k == 3:
        return _weight_grad_3x3(x, grad, weight, stride, padding)
    x = F.pad(x, (padding,) * 4)
    total = torch.empty_like(weight)
    height, width = ((side - 1) * stride + 3 for side in grad.shape[-2:])
    for top in (0, 2):
        for left in (0, 2):
            window = x[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
            part = _weight_grad_3x3(window, grad, weight[:, :, :3, :3], stride, 0)
            total[:, :, top : top + 3, left : left + 3] = part  # the shared row and column come out equal
    return total


def _weight_grad_3x3(x, grad, weight, stride, padding):
    return torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], x.shape[1], [False, True, False]
    )[1]


def _space_to_batch(x: torch.Tensor, d: int) -> torch.Tensor:
    """``(N, C, H, W)``, sides multiples of ``d``, to ``(d * d * N, C, H / d, W / d)``: every d-th pixel together."""
    n, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(n, h // d, d, w // d, d, c)
    return x.permute(2, 4, 0, 1, 3, 5).reshape(d * d * n, h // d, w // d, c).permute(0, 3, 1, 2)


def _batch_to_space(x: torch.Tensor, d: int) -> torch.Tensor:
    n, c, h, w = x.shape
    n //= d * d
    x = x.permute(0, 2, 3, 1).reshape(d, d, n, h, w, c).permute(2, 3, 0, 4, 1, 5)
    return x.reshape(n, d * h, d * w, c).permute(0, 3, 1, 2)


def depthwise_conv2d(
    x: torch.Tensor, weight: torch.Tensor, stride: int = 1, padding: int = 0, dilation: int = 1
) -> torch.Tensor:
    """`reference.depthwise_conv2d` with a fast CPU backward for 3x3 and 5x5 kernels.

    Args:
        x: ``(N, C, H, W)``; fast when channels_last.
        weight: ``(C, 1, k, k)`` of ``x``'s dtype.
        stride, padding, dilation: as in ``conv2d``, equal on both axes.

    Returns:
        ``(N, C, H', W')``. Cases outside the fast ones (another kernel size, dilation with a stride or a
        padding that it does not divide, a padding above ``k - 1``) run the library's code.
    """
    k = weight.shape[-1]
    fast = k in (3, 5) and x.device.type == "cpu" and padding <= dilation * (k - 1)
    if fast and dilation == 1:
        return _DepthwiseConv2d.apply(x, weight, stride, padding)
    if fast and dilation > 1 and stride == 1 and padding % dilation == 0:
        d = dilation
        h, w = x.shape[-2:]
        parts = _space_to_batch(F.pad(x, (0, -w % d, 0, -h % d)), d)
        y = _batch_to_space(_DepthwiseConv2d.apply(parts, weight, 1, padding // d), d)
        lost = d * (k - 1) - 2 * padding
        return y[:, :, : h - lost, : w - lost]
    return _library(x, weight, stride, padding, dilation)
