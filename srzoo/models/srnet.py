"""SRNet for semantic segmentation (arXiv 2011.03308, "Network architecture")."""

from collections import OrderedDict
from numbers import Integral

import torch
from torch import nn
from torch.nn import functional as F

from ..backbones import FeatureBackbone
from ..layers import PYRAMIDS, build_context
from ..layers.checks import check_flag, check_share, check_whole, check_wholes
from ..layers.conv import conv_bn_relu
from ..layers.pyramids import rates_at
from .semantic import SegmentationNet


class ContextHead(nn.Sequential):
    """3x3 convolution, context module, 3x3 convolution; both convolutions give ``channels``.

    A pyramid, "aspp" or "psp", takes the place of all three, as in Table 3: it reduces and fuses by itself.
    ``released`` makes the first a 1x1 convolution alone, and gives the last a bias. ``stride`` is that of the map.
    """

    def __init__(
        self, in_channels: int, channels: int, context: str, stride: int, released: bool = False, **context_options
    ):
        if context == "aspp":
            context_options = {"rates": rates_at(stride), **context_options}
        if context in PYRAMIDS:
            parts = OrderedDict(context=build_context(context, in_channels, out_channels=channels, **context_options))
        else:
            parts = OrderedDict(
                reduce=nn.Conv2d(in_channels, channels, 1) if released else conv_bn_relu(in_channels, channels),
                context=build_context(context, channels, **context_options),
                fuse=conv_bn_relu(channels, channels, bias=released),
            )
        super().__init__(parts)


class LateralDecoder(nn.Module):
    """Bring finer features in: per step upsample, add a 1x1 projection of the feature, 3x3 convolution."""

    def __init__(self, in_channels: int, lateral_channels: list[int], channels: int):
        super().__init__()
        self.reduce = conv_bn_relu(in_channels, channels, 1)
        self.laterals = nn.ModuleList(conv_bn_relu(c, channels, 1) for c in lateral_channels)
        self.fuse = nn.ModuleList(conv_bn_relu(channels, channels) for _ in lateral_channels)

    def forward(self, x: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        x = self.reduce(x)
        for feature, lateral, fuse in zip(features, self.laterals, self.fuse, strict=True):
            x = F.interpolate(x, size=feature.shape[-2:], mode="bilinear", align_corners=False)
            x = fuse(x + lateral(feature))
        return x


class SRNet(SegmentationNet):
    """Dilated backbone, 3x3 convolution, Squeeze Reasoning, 3x3 convolution, classifier.

    Args:
        backbone: any timm backbone with ``features_only``.
        num_classes: classes of the logits.
        output_stride: stride of the map that the block works on; the paper's is 8.
        channels: ``D``, the width of the head; the paper's is 512. None for no head: the paper's dilated FCN.
        context: "sr", "sr_released" for the block as the authors published it, another of
            `srzoo.layers.CONTEXT_MODULES`, or "none" for the head without one.
        decoder_strides: strides of finer features to bring in after the head, coarse to fine; the paper has none.
        decoder_channels: width of that decoder.
        multi_grid: dilation multipliers of a ResNet's last stage; (1, 1, 1) in the released models.
        dropout: before the classifier.
        align_corners: how the logits are resized to the image, as in ``torch.nn.functional.interpolate``; True in
            the released models.
        released_head: the convolutions around the block as in the released models: a 1x1 convolution in place of
            the first 3x3 with its BatchNorm and ReLU, and biases on the others.
        backbone_options: for ``timm.create_model``, in place of the output stride alone; see `backbones.probe`.
        size_divisor: enlarge the input to a multiple of this, for backbones that need it.
        **context_options: of the context module: ``nodes``, ``reduction``, ``squeeze``, ``reasoning`` for "sr"; see
            the classes in `srzoo.layers`.

    Shape:
        ``(N, 3, H, W)`` normalised floats, ``H, W >= 32``, to ``(N, num_classes, H, W)`` logits; in training at
        batch 1 too.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        output_stride: int = 8,
        channels: int | None = 512,
        context: str = "sr",
        decoder_strides: tuple[int, ...] = (),
        decoder_channels: int = 64,
        multi_grid: tuple[int, ...] | None = None,
        dropout: float = 0.1,
        align_corners: bool = False,
        released_head: bool = False,
        backbone_options: dict | None = None,
        size_divisor: int = 1,
        **context_options,
    ):
        _check_head(channels, dropout, released_head, context_options)
        _check_decoder(decoder_strides, decoder_channels)
        if backbone_options is None:
            backbone_options = {"output_stride": _dilatable(output_stride)}
        elif not isinstance(backbone_options, dict):
            raise ValueError(f"backbone_options must be a dict for timm.create_model, got {backbone_options!r}")
        features = FeatureBackbone(backbone, backbone_options, multi_grid)
        super().__init__(features, num_classes, align_corners, size_divisor)
        widths, strides = features.channels, features.strides
        if channels is None:
            self.head, channels = _no_head(context), widths[-1]
        else:
            self.head = ContextHead(widths[-1], channels, context, strides[-1], released_head, **context_options)
        self.decoder_levels = [_level_of(stride, strides, backbone) for stride in decoder_strides]
        if decoder_strides:
            self.decoder = LateralDecoder(channels, [widths[i] for i in self.decoder_levels], decoder_channels)
            channels = decoder_channels
        else:
            self.decoder = None
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        # The paper's second supervision, "at the output layer of Stage4": the last map but one.
        aux_width = widths[-2] // 4
        self.aux_head = nn.Sequential(
            OrderedDict(
                fuse=conv_bn_relu(widths[-2], aux_width, bias=released_head),
                dropout=nn.Dropout(dropout),
                classifier=nn.Conv2d(aux_width, num_classes, 1),
            )
        )


def _check_head(channels: int | None, dropout: float, released_head: bool, context_options: dict) -> None:
    check_share(dropout=dropout)
    check_flag(released_head=released_head)
    if channels is not None:
        check_whole(channels=channels)
    elif context_options:
        raise ValueError(f"channels=None gives no head to take {', '.join(context_options)}; pass channels, e.g. 512")


def _check_decoder(strides: tuple[int, ...], channels: int) -> None:
    check_whole(decoder_channels=channels)
    check_wholes(decoder_strides=strides)
    if list(strides) != sorted(set(strides), reverse=True):
        raise ValueError(f"decoder_strides must fall, coarse to fine, got {strides}")


def _dilatable(output_stride: int) -> int:
    """A stride that timm's convolutional networks can be given; some take others without a word, and ignore them."""
    if not isinstance(output_stride, Integral) or output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride!r}")
    return output_stride


def _no_head(context: str) -> nn.Identity:
    if context != "none":
        raise ValueError(f"channels=None gives no head to hold context={context!r}; pass channels, e.g. 512")
    return nn.Identity()


def _level_of(stride: int, strides: list[int], backbone: str) -> int:
    """Index of the feature map with this stride."""
    if stride not in strides:
        raise ValueError(f"{backbone!r} has no feature of stride {stride}, only of {sorted(set(strides))}")
    return strides.index(stride)
