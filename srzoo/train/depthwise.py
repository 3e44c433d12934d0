"""Depthwise convolutions with a fast backward pass on the CPU."""

import torch
from timm.layers import Conv2dSame
from torch import nn

from srzoo_kernels import depthwise_conv2d

from ..backbones.same_padding import pad_same


class DepthwiseConv2d(nn.Module):
    """A depthwise convolution that is computed by `srzoo_kernels.depthwise_conv2d`.

    Args:
        conv: the ``nn.Conv2d`` or timm ``Conv2dSame`` to replace, without a bias, zero-padded, with equal kernel sizes,
            strides, dilations and paddings along both axes. The new module shares its weight.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H', W')`` as for ``conv``, in the dtype of the input, or of autocast.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.weight = conv.weight
        self.stride, self.dilation, self.padding = conv.stride[0], conv.dilation[0], conv.padding[0]
        self.same = isinstance(conv, Conv2dSame)
        if self.same:
            self.padding = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.same:
            x = pad_same(x, self.weight.shape[-2:], [self.stride] * 2, [self.dilation] * 2)
        return depthwise_conv2d(x, self.weight, self.stride, self.padding, self.dilation)


def replace_depthwise(model: nn.Module) -> nn.Module:
    """Replace the depthwise convolutions of ``model`` in place, and return it.

    The state dict keeps its keys, and its tensors are the same. A convolution that `DepthwiseConv2d` does not support,
    such as one with a bias, is left alone.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and _is_plain_depthwise(child):
                setattr(parent, name, DepthwiseConv2d(child))
    return model


def _is_plain_depthwise(conv: nn.Conv2d) -> bool:
    square = all(len(set(pair)) == 1 for pair in (conv.kernel_size, conv.stride, conv.dilation))
    zero_padded = isinstance(conv.padding, tuple) and len(set(conv.padding)) == 1 and conv.padding_mode == "zeros"
    depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.groups > 1
    return depthwise and square and zero_padded and conv.bias is None
