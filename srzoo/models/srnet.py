"""SRNet for semantic segmentation (arXiv 2011.03308, "Network architecture")."""

from numbers import Integral

import torch
from torch import nn
from torch.nn import functional as F

from ..backbones import FeatureBackbone
from ..backbones.features import numbered_strides
from ..layers import PYRAMIDS, build_context
from ..layers.checks import check_flag, check_options, check_share, check_whole, check_wholes
from ..layers.context_head import ContextHead, build_pyramid
from ..layers.conv import conv_bn_relu
from ..messages import shortened
from .semantic import SegmentationNet, auxiliary_head, build_classifier


class LateralDecoder(nn.Module):
    """A light decoder, in the manner of a feature pyramid.

    For each feature, from coarse to fine, it upsamples the map, adds a 1x1 projection of the feature, and applies a 3x3
    convolution.

    Args:
        in_channels: of the input map.
        lateral_channels: of each feature, coarse to fine.
        channels: of the output.

    Shape:
        A map ``(N, in_channels, h, w)`` and a list of features ``(N, lateral_channels[i], h_i, w_i)``, coarse to fine,
        to ``(N, channels, h_n, w_n)``, the size of the last feature.
    """

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
    """SRNet: a dilated backbone, 3x3 convolution, Squeeze Reasoning, 3x3 convolution, classifier.

    Args:
        backbone: any timm backbone with ``features_only``.
        num_classes: classes of the logits.
        output_stride: stride of the map that the context module works on; 8 in the paper.
        channels: ``D``, the width of the head; 512 in the paper. None builds no head, which is the paper's dilated FCN.
        context: "sr", "sr_released" for the block as in the authors' code, another of `srzoo.layers.CONTEXT_MODULES`,
            or "none" for a head without a context module.
        decoder_strides: strides of finer features for a decoder after the head, coarse to fine; none in the paper.
        decoder_channels: width of the decoder.
        multi_grid: dilation multipliers of a ResNet's last stage; (1, 1, 1) in the released models.
        dropout: probability of dropout before the classifier.
        align_corners: how the logits are resized to the image, as in ``torch.nn.functional.interpolate``; True in the
            released models.
        released_head: use the convolutions of the released models: a plain 1x1 convolution instead of the first 3x3
            convolution with BatchNorm and ReLU, and biases in the other 3x3 convolutions.
        backbone_options: for ``timm.create_model``, instead of ``output_stride``; see `srzoo.backbones.probe`.
        size_divisor: height and width are enlarged to multiples of this, for backbones that need it.
        in_channels: of the image.
        one_output: compute one logit for two classes, see `srzoo.models.semantic.OneOutput`.
        **context_options: of the context module, e.g. ``nodes``, ``reduction``, ``squeeze`` and ``reasoning`` for "sr";
            see the classes in `srzoo.layers`.

    Shape:
        ``(N, in_channels, H, W)`` normalized floats, ``H, W >= 32``, to ``(N, num_classes, H, W)`` logits; ``N = 1``
        works in training too.

    Raises:
        ValueError: an argument is out of range; timm has no such backbone, or cannot build it with these options; the
            backbone has no feature at a decoder stride; or an invalid option of the context module.
        TypeError: an option that the context module does not have.
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
        in_channels: int = 3,
        one_output: bool = False,
        **context_options,
    ):
        check_whole(num_classes=num_classes, in_channels=in_channels)
        _check_head(channels, dropout, released_head, context_options)
        _check_decoder(decoder_strides, decoder_channels)
        check_options(backbone_options=backbone_options)
        if backbone_options is None:
            backbone_options = {"output_stride": _dilatable(output_stride)}
        if in_channels != 3:
            backbone_options = {**backbone_options, "in_chans": in_channels}
        chosen, levels = _features(backbone, backbone_options, decoder_strides)
        features = FeatureBackbone(backbone, {**backbone_options, "out_indices": chosen}, multi_grid)
        widths, strides = features.channels, features.strides
        if channels is None:
            head, width = _no_head(context), widths[-1]
        else:
            head = _head(widths[-1], channels, context, strides[-1], released_head, context_options)
            width = channels
        decoder = None
        if levels:
            decoder, width = LateralDecoder(width, [widths[i] for i in levels], decoder_channels), decoder_channels
        classifier = build_classifier(width, num_classes, one_output)
        # The paper's second loss is "at the output layer of Stage4", the second last feature.
        aux_head = auxiliary_head(widths[-2], num_classes, dropout, widths[-2] // 4, released_head, one_output)
        super().__init__(features, head, classifier, aux_head, decoder, levels, dropout, align_corners, size_divisor)


def _head(
    in_channels: int, channels: int, context: str, stride: int, released: bool, context_options: dict
) -> ContextHead:
    """3x3 convolution, context module, 3x3 convolution; a pyramid replaces all three, as in Table 3."""
    if context in PYRAMIDS:
        return ContextHead(context=build_pyramid(context, in_channels, channels, stride, **context_options))
    return ContextHead(
        reduce=nn.Conv2d(in_channels, channels, 1) if released else conv_bn_relu(in_channels, channels),
        context=build_context(context, channels, **context_options),
        fuse=conv_bn_relu(channels, channels, bias=released),
    )


def _check_head(channels: int | None, dropout: float, released_head: bool, context_options: dict) -> None:
    check_share(dropout=dropout)
    check_flag(released_head=released_head)
    if channels is not None:
        check_whole(channels=channels)
    elif context_options:
        raise ValueError(
            f"channels=None builds no head, so {', '.join(context_options)} cannot be set; pass channels, e.g. 512"
        )


def _check_decoder(strides: tuple[int, ...], channels: int) -> None:
    check_whole(decoder_channels=channels)
    check_wholes(decoder_strides=strides)
    if list(strides) != sorted(set(strides), reverse=True):
        raise ValueError(f"decoder_strides must fall, coarse to fine, got {strides}")


def _dilatable(output_stride: int) -> int:
    """Check a stride for timm's networks, some of which ignore an unsupported one without an error."""
    if not isinstance(output_stride, Integral) or output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride!r}")
    return output_stride


def _no_head(context: str) -> ContextHead:
    if context != "none":
        raise ValueError(f"channels=None builds no head for context={context!r}; pass channels, e.g. 512")
    return ContextHead()


def _features(backbone: str, options: dict, decoder_strides: tuple[int, ...]) -> tuple[tuple[int, ...], list[int]]:
    """timm's numbers of the features that an SRNet reads, and which of these its decoder reads, coarse to fine.

    These are the last for the head, the second last for the auxiliary head, and the first of each decoder stride.

    Raises:
        ValueError: timm has no such backbone, it has one feature alone, or none of a stride of the decoder.
    """
    numbers, strides = zip(*numbered_strides(backbone, options))
    if len(strides) < 2:
        raise ValueError(
            f"{backbone!r} has one feature with {shortened(options, 200)}, and the auxiliary head reads the one before "
            "the last; let out_indices name two or more"
        )
    for stride in decoder_strides:
        if stride not in strides:
            raise ValueError(f"{backbone!r} has no feature of stride {stride}; choose from {sorted(set(strides))}")
    of_decoder = [strides.index(stride) for stride in decoder_strides]
    read = sorted({*of_decoder, len(strides) - 2, len(strides) - 1})
    return tuple(numbers[i] for i in read), [read.index(i) for i in of_decoder]
