"""A convolution that adds its bias, a residual and its activation before it writes, for inference on a GPU."""

from __future__ import annotations

import torch
from torch import nn

from srzoo_kernels import conv2d_act, serves_conv2d_act

from ..backbones.same_padding import SamePaddedConv2d, same_margins

ACTIVATIONS = {nn.ReLU: "relu", nn.ReLU6: "relu6"}


class ConvAct(nn.Module):
    """A convolution with its activation: one operator on a GPU, where no gradient is wanted.

    It has the convolution's geometry as attributes, such as ``kernel_size``, which some networks read.

    Args:
        conv: with zero padding, as numbers.
        activation: of a kind of `ACTIVATIONS`, or None.

    Shape:
        ``(N, C, H, W)``, and a ``residual`` of the result's shape, which is added before the activation, to that of
        ``conv``.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None = None):
        super().__init__()
        self.conv, self.activation = conv, activation
        for name in conv.__constants__:
            setattr(self, name, getattr(conv, name))
        taps = None
        if conv.groups == conv.in_channels == conv.out_channels > 1:
            taps = conv.weight.detach()[:, 0].permute(1, 2, 0).contiguous()  # (kh, kw, C)
        self.register_buffer("taps", taps, persistent=False)

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        conv = self.conv
        if not serves_conv2d_act(x, residual, conv.weight, conv.bias):
            y = conv(x)
            if residual is not None:
                y += residual
            return y if self.activation is None else self.activation(y)
        return convolve(conv, x, conv.weight if self.taps is None else self.taps, self.activation, residual)


def convolve(
    conv: nn.Conv2d,
    x: torch.Tensor,
    weight: torch.Tensor,
    activation: nn.Module | None,
    residual: torch.Tensor | None = None,
) -> torch.Tensor:
    """`conv2d_act` with the geometry and the bias of ``conv``, in the dtype of ``weight``, which is that of ``x``."""
    bias = None if conv.bias is None else conv.bias.to(weight.dtype)
    if isinstance(conv, SamePaddedConv2d):
        margins = same_margins(x, conv.kernel_size, conv.stride, conv.dilation)
    else:
        margins = (conv.padding[0],) * 2 + (conv.padding[1],) * 2
    name = "identity" if activation is None else ACTIVATIONS[type(activation)]
    return conv2d_act(x, weight, bias, name, residual, conv.stride, margins, conv.dilation, conv.groups)


class ResidualBlock(nn.Module):
    """A residual block of ResNet, whose last convolution adds the shortcut.

    Args:
        convs: the others, one after the other.
        last: adds the shortcut, and applies the block's activation.
        downsample: of the shortcut, or None.

    Shape:
        ``(N, C, H, W)`` to ``(N, C', H', W')``, as of the block.
    """

    def __init__(self, convs: nn.Sequential, last: ConvAct, downsample: nn.Module | None):
        super().__init__()
        self.convs, self.last, self.downsample = convs, last, downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convs(x)
        return self.last(y, x if self.downsample is None else self.downsample(x))
