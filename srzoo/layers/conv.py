"""Convolution, BatchNorm and ReLU, the layers of heads and pyramids."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F


class _Lenient:
    """Takes a single value per channel in training, such as a map pooled to one pixel at batch size 1.

    A single value has no variance. It is normalized with the running statistics, as in evaluation.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class LenientBatchNorm1d(_Lenient, nn.BatchNorm1d):
    """BatchNorm of ``(N, C, L)`` that also takes ``N = L = 1`` in training."""


class LenientBatchNorm2d(_Lenient, nn.BatchNorm2d):
    """BatchNorm of ``(N, C, H, W)`` that also takes ``N = H = W = 1`` in training."""


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int = 3, dilation: int = 1, bias: bool = False
) -> nn.Sequential:
    """A convolution, BatchNorm and ReLU, named ``conv``, ``bn`` and ``relu``.

    Args:
        in_channels, out_channels: of the convolution.
        kernel_size: its side, odd.
        dilation: of the convolution; the padding keeps the size.
        bias: whether the convolution has a bias.

    Shape:
        ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``.
    """
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=bias),
            bn=LenientBatchNorm2d(out_channels),
            relu=nn.ReLU(inplace=True),
        )
    )
