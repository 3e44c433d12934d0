"""Depthwise convolution, as the library has it."""

import torch
from torch.nn import functional as F


def depthwise_conv2d(
    x: torch.Tensor, weight: torch.Tensor, stride: int = 1, padding: int = 0, dilation: int = 1
) -> torch.Tensor:
    """``conv2d`` of ``(N, C, H, W)`` with one ``k x k`` filter per channel, ``weight`` ``(C, 1, k, k)``."""
    return F.conv2d(x, weight, None, stride, padding, dilation, groups=x.shape[1])
