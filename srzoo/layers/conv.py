"""Convolution, BatchNorm, ReLU: what heads and pyramids are made of."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F


class LenientBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that in training takes one value per channel too, such as a pooled map at batch 1.

    One value has no variance; there it is normalised as in evaluation, by the running statistics.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


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
