"""What every network for semantic segmentation does around its own parts."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ..backbones import FeatureBackbone
from ..layers.checks import check_flag, check_whole
from ..layers.context_head import ContextHead
from ..layers.conv import conv_bn_relu
from .base import ZooModel


class SegmentationNet(ZooModel):
    """Features of a backbone, a head on the last of them, a decoder over finer ones, a classifier.

    Args:
        backbone: gives the features.
        head: the last feature ``(N, C, h, w)`` to ``(N, D, h, w)``.
        classifier: 1x1 convolution from the width of the decoder, or of the head, to logits.
        aux_head: the last feature but one to logits, for a second loss in training.
        decoder: from the head's output and the list of the features at ``decoder_levels`` to a finer map.
        decoder_levels: indices of features, coarse to fine.
        dropout: before the classifier.
        align_corners: how the logits are resized to the image, as in ``torch.nn.functional.interpolate``.
        size_divisor: enlarge the input to a multiple of this, for backbones that need it.

    Attributes:
        num_classes: classes of the logits.
        size_divisor: what sides are enlarged to multiples of: of the output stride too, as else the maps within the
            network are shifted against each other, which thin classes do not forgive. With ``align_corners`` other
            sides line up, those of a multiple and one: there it is as given.
        output_stride: of the map that the head works on.
        logits_stride: of the logits before they are resized.

    Shape:
        ``(N, 3, H, W)`` normalized floats, ``H, W >= 32``, to ``(N, num_classes, H, W)`` logits; in training at
        batch 1 too.

    Raises:
        ValueError: ``size_divisor`` is below 1, ``align_corners`` neither True nor False.
    """

    task = "semantic"

    def __init__(
        self,
        backbone: FeatureBackbone,
        head: ContextHead,
        classifier: nn.Conv2d,
        aux_head: nn.Module,
        decoder: nn.Module | None = None,
        decoder_levels: Sequence[int] = (),
        dropout: float = 0.0,
        align_corners: bool = False,
        size_divisor: int = 1,
    ):
        super().__init__()
        check_whole(size_divisor=size_divisor)
        check_flag(align_corners=align_corners)
        self.backbone, self.head, self.decoder, self.decoder_levels = backbone, head, decoder, list(decoder_levels)
        self.dropout, self.classifier, self.aux_head = nn.Dropout(dropout), classifier, aux_head
        self.num_classes = classifier.out_channels
        self.output_stride = backbone.strides[-1]
        self.align_corners = align_corners
        self.size_divisor = size_divisor if align_corners else math.lcm(size_divisor, self.output_stride)

    @property
    def input_multiple(self) -> int:
        return math.lcm(self.output_stride, self.size_divisor)

    @property
    def logits_stride(self) -> int:
        return self.backbone.strides[self.decoder_levels[-1] if self.decoder_levels else -1]

    def forward(
        self, x: torch.Tensor, return_aux: bool = False, upsample: bool = True
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Logits of ``x``.

        Args:
            x: ``(N, 3, H, W)`` normalized floats.
            return_aux: also return the auxiliary head's logits, for the training loss.
            upsample: resize the logits to ``(H, W)``; without it they stay at ``logits_stride``.

        Returns:
            ``(N, num_classes, H, W)``, or a pair of such tensors with ``return_aux``.

        Raises:
            ValueError: ``x`` is not ``(N, 3, H, W)`` or smaller than 32 pixels on a side.
        """
        _check_image_batch(x)
        size = x.shape[-2:]
        x = self._fit(x)
        features = self.backbone(x)
        y = self.head(features[-1])
        if self.decoder is not None:
            y = self.decoder(y, [features[i] for i in self.decoder_levels])
        logits = self.classifier(self.dropout(y))
        aux = self.aux_head(features[-2]) if return_aux else None
        if upsample:
            logits = self.resize(logits, size)
            aux = self.resize(aux, size) if return_aux else None
        return (logits, aux) if return_aux else logits

    def context_input(self, x: torch.Tensor) -> torch.Tensor:
        """The map ``(N, C, h, w)`` at ``output_stride`` that the context module works on; ``x`` as in `forward`."""
        _check_image_batch(x)
        return self.head.reduce(self.backbone(self._fit(x))[-1])

    def resize(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Logits ``(N, K, h, w)`` at ``size``, as `forward` resizes them to the image: ``(N, K, *size)``."""
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)

    def _fit(self, x: torch.Tensor) -> torch.Tensor:
        """Enlarge to what the maps fit into, and to what BatchNorm in training can take.

        Not padded: the logits have to cover the image and nothing else, for those who resize them themselves.
        """
        height, width = (-(-side // self.size_divisor) * self.size_divisor for side in x.shape[-2:])
        if self.training and x.shape[0] == 1 and max(height, width) < 2 * self.output_stride:
            width = 2 * self.output_stride  # else one value per channel, of which there is no variance
        # A comparison would specialize a compiled graph on its outcome. So, where sides may have to be enlarged, that
        # graph always resizes; sides that fit are copied by it.
        may_compare = self.size_divisor == 1 or not torch.compiler.is_compiling()
        if may_compare and (height, width) == tuple(x.shape[-2:]):
            return x
        return self.resize(x, (height, width))


def auxiliary_head(
    channels: int, num_classes: int, dropout: float, width: int | None = None, bias: bool = False
) -> nn.Sequential:
    """A classifier of a feature ``(N, channels, h, w)`` for a second loss, with a 3x3 convolution before it or none.

    Args:
        channels: of the feature.
        num_classes: of the logits ``(N, num_classes, h, w)``.
        dropout: before the classifier.
        width: of the convolution; None for none.
        bias: of the convolution.
    """
    parts = OrderedDict()
    if width is not None:
        parts["fuse"] = conv_bn_relu(channels, width, bias=bias)
    parts["dropout"] = nn.Dropout(dropout)
    parts["classifier"] = nn.Conv2d(channels if width is None else width, num_classes, 1)
    return nn.Sequential(parts)


def _check_image_batch(x: torch.Tensor) -> None:
    if x.dim() != 4 or x.shape[1] != 3:
        raise ValueError(f"expected a batch of images of shape (N, 3, H, W), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(
            f"expected images in floating point, got {x.dtype}; model.config.transform.normalize(x) does it"
        )
    if min(x.shape[-2:]) < 32:
        raise ValueError(f"expected height and width of at least 32, got {tuple(x.shape[-2:])}; resize the image first")
