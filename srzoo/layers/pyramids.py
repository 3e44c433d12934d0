"""The pyramids "aspp" and "psp" over the last feature of a backbone. Unlike other context modules they can change C."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from srzoo_kernels.checks import check_feature_map

from .checks import check_whole, check_wholes, divided
from .conv import conv_bn_relu
from .leaf import NotScriptable


def _pooled(x: torch.Tensor, bins: int, branch: nn.Module) -> torch.Tensor:
    """Pool ``x`` ``(N, C, H, W)`` to ``bins x bins``, apply ``branch`` and resize back: ``(N, C', H, W)``."""
    return F.interpolate(branch(F.adaptive_avg_pool2d(x, bins)), size=x.shape[2:], mode="bilinear")


def rates_at(output_stride: int) -> tuple[int, ...]:
    """DeepLabv3's dilation rates for a map of this stride: (12, 24, 36) at stride 8, (6, 12, 18) at 16."""
    return tuple(max(1, 8 * rate // output_stride) for rate in (12, 24, 36))


class ASPP(NotScriptable, nn.Module):
    """Atrous spatial pyramid pooling of DeepLabv3 (Chen et al., 2017, section 3.3).

    Parallel branches of ``C'`` channels: a 1x1 convolution, a 3x3 convolution for each rate, and a 1x1 convolution of
    the image pooled to one pixel. They are concatenated, and a 1x1 convolution reduces them to ``C'``. Every
    convolution has BatchNorm and ReLU. Computation ``O(C C' HW)``; arXiv 2011.03308 counts it in Table 3, after a
    backbone of 2048 channels with ``out_channels=256``, but not in Table 1.

    Args:
        channels: ``C`` of the input.
        out_channels: ``C'`` of the output; default ``channels``.
        rates: dilations of the 3x3 convolutions; DeepLabv3's are (12, 24, 36) at output stride 8 and half of these at
            16. srzoo's models take them from `rates_at` for their output stride.

    Shape:
        ``(N, C, H, W)`` to ``(N, C', H, W)``, ``H, W >= 1``, any floating dtype.

    Raises:
        ValueError: ``channels``, ``out_channels`` or a rate is below 1.
    """

    KEEPS_OUTPUT = True  # of its last ReLU, for the backward pass

    def __init__(self, channels: int, out_channels: int | None = None, rates: Sequence[int] = (12, 24, 36)):
        super().__init__()
        out_channels = channels if out_channels is None else out_channels
        check_whole(channels=channels, out_channels=out_channels)
        check_wholes(rates=rates)
        self.channels = channels
        self.pointwise = conv_bn_relu(channels, out_channels, 1)
        self.atrous = nn.ModuleList(conv_bn_relu(channels, out_channels, 3, rate) for rate in rates)
        self.image = conv_bn_relu(channels, out_channels, 1)
        self.fuse = conv_bn_relu((len(rates) + 2) * out_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_feature_map(x, channels=self.channels)
        branches = [self.pointwise(x), *(branch(x) for branch in self.atrous), _pooled(x, 1, self.image)]
        return self.fuse(torch.cat(branches, 1))


class PyramidPooling(NotScriptable, nn.Module):
    """Pyramid pooling module of PSPNet (Zhao et al., 2017, section 3.2), with the convolution that follows it.

    For each number of bins the map is pooled, reduced to ``C / len(bins)`` channels by a 1x1 convolution, and resized
    to ``(H, W)``. The results are concatenated with the map itself, and a convolution reduces them to ``C'``. Every
    convolution has BatchNorm and ReLU. Computation ``O(C C' HW)``; arXiv 2011.03308 counts it in Table 3, after a
    backbone of 2048 channels with ``out_channels=512``, but not in Table 1.

    Args:
        channels: ``C`` of the input.
        out_channels: ``C'`` of the output; default ``channels``.
        bins: side of each pooled map, in pixels.
        kernel_size: of the last convolution; 3 in PSPNet, 1 in DFSeg.

    Shape:
        ``(N, C, H, W)`` to ``(N, C', H, W)``, ``H, W >= 1``, any floating dtype.

    Raises:
        ValueError: ``channels`` is not divisible by the number of bins; a width or a bin is below 1; ``kernel_size`` is
            even.
    """

    KEEPS_OUTPUT = True  # of its last ReLU, for the backward pass

    def __init__(
        self,
        channels: int,
        out_channels: int | None = None,
        bins: Sequence[int] = (1, 2, 3, 6),
        kernel_size: int = 3,
    ):
        super().__init__()
        out_channels = channels if out_channels is None else out_channels
        check_whole(out_channels=out_channels, kernel_size=kernel_size)
        check_wholes(bins=bins)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, as an even one changes the map's size, got {kernel_size}")
        width = divided(channels, len(bins), "number of bins")
        self.channels, self.bins = channels, tuple(bins)
        self.stages = nn.ModuleList(conv_bn_relu(channels, width, 1) for _ in bins)
        self.fuse = conv_bn_relu(2 * channels, out_channels, kernel_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_feature_map(x, channels=self.channels)
        pooled = [_pooled(x, bins, stage) for bins, stage in zip(self.bins, self.stages)]
        return self.fuse(torch.cat([x, *pooled], 1))
