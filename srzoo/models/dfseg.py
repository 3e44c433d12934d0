"""DFSeg (Li et al., "Partial Order Pruning", CVPR 2019), a real-time network.

With Squeeze Reasoning instead of pyramid pooling it is the SRNet-DFv2 of arXiv 2011.03308, Table 6.
"""

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
from .semantic import SegmentationNet, auxiliary_head, build_classifier


class FusionDecoder(nn.Module):
    """DFSeg's decoder.

    For each feature, from coarse to fine, it upsamples the map, concatenates a 1x1 projection of the feature, and
    applies a 3x3 convolution. A last 3x3 convolution doubles the width; it is the only one with BatchNorm and ReLU.

    Args:
        lateral_channels: of each feature, coarse to fine.
        channels: of the input map, and of the projections.

    Shape:
        A map ``(N, channels, h, w)`` and a list of features ``(N, lateral_channels[i], h_i, w_i)``, coarse to fine, to
        ``(N, 2 * channels, h_n, w_n)``, the size of the last feature.
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
    """DFSeg: a backbone at stride 32, a context module, a 1x1 convolution, a decoder over two features, a classifier.

    The structure is that of the released code of arXiv 2011.03308, and has the parameter counts of its Table 6.

    Args:
        backbone: any timm backbone with ``features_only``; DFNet v1 or v2 in the paper.
        num_classes: classes of the logits.
        levels: timm's indices of the three features to use, fine to coarse.
        channels: width of the decoder.
        context: "psp" as in DFSeg, "sr" as in the paper's SRNet-DFv2, or another of `srzoo.layers.CONTEXT_MODULES`.
        dropout: probability of dropout before the classifier.
        in_channels: of the image.
        one_output: compute one logit for two classes, see `srzoo.models.semantic.OneOutput`.
        **context_options: of the context module, see the classes in `srzoo.layers`.

    Shape:
        ``(N, in_channels, H, W)`` normalized floats, ``H, W >= 32``, to ``(N, num_classes, H, W)`` logits; ``N = 1``
        works in training too.

    Raises:
        ValueError: an argument is out of range; timm has no such backbone, or it has no features at these levels; or an
            invalid option of the context module.
        TypeError: an option that the context module does not have.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        levels: tuple[int, int, int] = (-3, -2, -1),
        channels: int = 128,
        context: str = "psp",
        dropout: float = 0.1,
        in_channels: int = 3,
        one_output: bool = False,
        **context_options,
    ):
        check_whole(num_classes=num_classes, channels=channels, in_channels=in_channels)
        check_share(dropout=dropout)
        if not isinstance(levels, (tuple, list)) or len(levels) != 3 or not _rise(levels):
            raise ValueError(f"levels must be three rising indices of features, fine to coarse, got {levels!r}")
        in_chans = {} if in_channels == 3 else {"in_chans": in_channels}
        features = FeatureBackbone(backbone, {"out_indices": levels, **in_chans})
        fine, middle, coarse = features.channels
        head = _head(coarse, channels, context, features.strides[-1], context_options)
        decoder = FusionDecoder([middle, fine], channels)
        classifier = build_classifier(2 * channels, num_classes, one_output)
        # The released network has no auxiliary head. This one adds 0.05 % to its parameters.
        aux_head = auxiliary_head(middle, num_classes, dropout, one_output=one_output)
        super().__init__(features, head, classifier, aux_head, decoder, [1, 0], dropout)


def _rise(levels: Sequence[int]) -> bool:
    """Whether the levels are integers that strictly rise."""
    return all(isinstance(level, Integral) for level in levels) and list(levels) == sorted(set(levels))


def _head(in_channels: int, channels: int, context: str, stride: int, options: dict) -> ContextHead:
    """The context module and the 1x1 convolution to ``channels`` that follows it."""
    width = in_channels
    if context in PYRAMIDS:
        options = {"kernel_size": 1, **options} if context == "psp" else options
        module, width = build_pyramid(context, in_channels, channels, stride, **options), channels
    else:
        module = build_context(context, in_channels, **options)
    return ContextHead(context=module, fuse=nn.Sequential(OrderedDict(conv=nn.Conv2d(width, channels, 1))))
