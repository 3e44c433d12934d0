"""Convolution, BatchNorm, ReLU: what heads and pyramids are made of."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F


class _Lenient:
    """In training one value per channel, such as a pooled map at batch 1, is normalized too.

    One value has no variance; there it is normalized as in evaluation, by the running statistics.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class LenientBatchNorm1d(_Lenient, nn.BatchNorm1d):
    """BatchNorm of ``(N, C, L)`` that takes ``N = L = 1`` in training."""


class LenientBatchNorm2d(_Lenient, nn.BatchNorm2d):
    """BatchNorm of ``(N, C, H, W)`` that takes ``N = H = W = 1`` in training."""


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int = 3, dilation: int = 1, bias: bool = False
) -> nn.Sequential:
    """A convolution that keeps the size, BatchNorm and ReLU, as ``conv``, ``bn`` and ``relu``."""
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=bias),
            bn=LenientBatchNorm2d(out_channels),
            relu=nn.ReLU(inplace=True),
        )
    )
