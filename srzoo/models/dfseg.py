"""DFSeg (Li et al., "Partial Order Pruning", CVPR 2019); with the block for its pyramid pooling, SRNet in real time."""

from collections import OrderedDict
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import nn
from torch.nn import functional as F

from ..backbones import FeatureBackbone
from ..layers import PYRAMIDS, build_context
from ..layers.checks import check_share, check_whole
from ..layers.context_head import ContextHead, build_pyramid
from ..layers.conv import conv_bn_relu
from .semantic import SegmentationNet, auxiliary_head


class FusionDecoder(nn.Module):
    """DFSeg's decoder: per step upsample, put a 1x1 projection of the finer feature beside it, 3x3 convolution.

    Ends in a 3x3 convolution to twice the width, the only one with BatchNorm and ReLU.

    Args:
        lateral_channels: of each feature, coarse to fine.
        channels: of the map to start from, and of the projections.

    Shape:
        A map ``(N, channels, h, w)`` and a list of features ``(N, lateral_channels[i], h_i, w_i)``, to
        ``(N, 2 * channels, h_n, w_n)`` at the last one's size.
    """

    def __init__(self, lateral_channels: list[int], channels: int):
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in lateral_channels)
        self.fuse = nn.ModuleList(nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False) for _ in lateral_channels)
        self.out = conv_bn_relu(channels, 2 * channels)

    def forward(self, x: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        for feature, lateral, fuse in zip(features, self.laterals, self.fuse, strict=True):
            x = F.interpolate(x, size=feature.shape[-2:], mode="bilinear", align_corners=False)
            x = fuse(torch.cat([x, lateral(feature)], 1))
        return self.out(x)


class DFSeg(SegmentationNet):
    """A backbone at stride 32, a context module, 1x1 convolution, two fusion nodes, classifier.

    As in the code that the paper's authors released for it, which gives the counts of its Table 6.

    Args:
        backbone: any timm backbone with ``features_only``; DFNet v1 or v2 in the paper.
        num_classes: classes of the logits.
        levels: timm's indices of the three features to join, fine to coarse.
        channels: width of the decoder.
        context: "psp" as in DFSeg, "sr" as in the paper's SRNet-DFv2, or another of `srzoo.layers.CONTEXT_MODULES`.
        dropout: before the classifier.
        **context_options: of the context module, see the classes in `srzoo.layers`.

    Shape:
        ``(N, 3, H, W)`` normalized floats, ``H, W >= 32``, to ``(N, num_classes, H, W)`` logits; in training at
        batch 1 too.

    Raises:
        ValueError: an argument out of its range, a backbone that timm lacks or that has no features at these levels,
            or options that the context module refuses.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        levels: tuple[int, int, int] = (-3, -2, -1),
        channels: int = 128,
        context: str = "psp",
        dropout: float = 0.1,
        **context_options,
    ):
        check_whole(num_classes=num_classes, channels=channels)
        check_share(dropout=dropout)
        if not isinstance(levels, (tuple, list)) or len(levels) != 3 or not _rise(levels):
            raise ValueError(f"levels must be three rising indices of features, fine to coarse, got {levels!r}")
        features = FeatureBackbone(backbone, {"out_indices": levels})
        fine, middle, coarse = features.channels
        head = _head(coarse, channels, context, features.strides[-1], context_options)
        decoder = FusionDecoder([middle, fine], channels)
        classifier = nn.Conv2d(2 * channels, num_classes, 1)
        # The released network has no second supervision; this one costs 0.05 % of its parameters.
        aux_head = auxiliary_head(middle, num_classes, dropout)
        super().__init__(features, head, classifier, aux_head, decoder, [1, 0], dropout)


def _rise(levels: Sequence[int]) -> bool:
    return all(isinstance(level, Integral) for level in levels) and list(levels) == sorted(set(levels))


def _head(in_channels: int, channels: int, context: str, stride: int, options: dict) -> ContextHead:
    """The context module and the 1x1 convolution that follows it."""
    width = in_channels
    if context in PYRAMIDS:
        options = {"kernel_size": 1, **options} if context == "psp" else options
        module, width = build_pyramid(context, in_channels, channels, stride, **options), channels
    else:
        module = build_context(context, in_channels, **options)
    return ContextHead(context=module, fuse=nn.Sequential(OrderedDict(conv=nn.Conv2d(width, channels, 1))))
