"""Pyramids over a backbone's last map: "aspp" and "psp". Unlike the other context modules they change the width."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from srzoo_kernels.checks import check_feature_map

from .checks import check_whole, check_wholes, divided
from .conv import conv_bn_relu


def _pooled(x: torch.Tensor, bins: int, branch: nn.Module) -> torch.Tensor:
    """``branch`` of the map pooled to ``bins x bins``, brought back to its size."""
    return F.interpolate(branch(F.adaptive_avg_pool2d(x, bins)), size=x.shape[2:], mode="bilinear")


def rates_at(output_stride: int) -> tuple[int, ...]:
    """DeepLabv3's dilations on a map of this stride: (12, 24, 36) at 8, half of them at 16."""
    return tuple(max(1, 8 * rate // output_stride) for rate in (12, 24, 36))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling of DeepLabv3 (Chen et al., 2017, section 3.3).

    A 1x1 convolution, 3x3 convolutions at each rate and the pooled image, side by side, each of ``out_channels`` with
    BatchNorm and ReLU, and a 1x1 convolution over all of them. Computation ``O(C C' HW)``; arXiv 2011.03308 counts it
    in Table 3, over a backbone of 2048 channels with ``out_channels=256``, but not in Table 1.

    Args:
        channels: ``C`` of the input.
        out_channels: ``C'`` of the output; default ``channels``.
        rates: dilations of the 3x3 convolutions; DeepLabv3's are (12, 24, 36) at output stride 8, half at 16. The
            zoo's models set them by `rates_at` their own stride.

    Shape:
        ``(N, C, H, W)`` to ``(N, C', H, W)``, ``H, W >= 1``.

    Raises:
        ValueError: a width or a rate below 1.
    """

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


class PyramidPooling(nn.Module):
    """Pyramid pooling module of PSPNet (Zhao et al., 2017, section 3.2) with the convolution that follows it.

    The map pooled to each number of bins, a 1x1 convolution to ``C / len(bins)`` channels, resized and put beside the
    map itself. Computation ``O(C C' HW)``; arXiv 2011.03308 counts it in Table 3, over a backbone of 2048 channels with
    ``out_channels=512``, but not in Table 1.

    Args:
        channels: ``C`` of the input.
        out_channels: ``C'`` of the output; default ``channels``.
        bins: sides of the pooled maps.
        kernel_size: of the last convolution: 3 in PSPNet, 1 in DFSeg.

    Shape:
        ``(N, C, H, W)`` to ``(N, C', H, W)``, ``H, W >= 1``.

    Raises:
        ValueError: ``channels`` is not divisible by the number of bins; a width or a bin below 1; an even kernel.
    """

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
