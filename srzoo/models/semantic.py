"""Base class of the networks for semantic segmentation."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from srzoo_kernels import upsample_bilinear

from ..backbones import FeatureBackbone
from ..labels import LabelSet
from ..layers.checks import check_flag, check_whole
from ..layers.context_head import ContextHead
from ..layers.conv import conv_bn_relu
from .base import ZooModel, check_image_batch, take_rows


class SegmentationNet(ZooModel):
    """A network of a backbone, a head on its last feature, an optional decoder over finer features, and a classifier.

    Args:
        backbone: the backbone.
        head: maps the last feature ``(N, C, h, w)`` to ``(N, D, h, w)``.
        classifier: of `build_classifier`, from the output of the decoder, or of the head, to logits.
        aux_head: of `auxiliary_head`, from the second last feature to logits, for a second loss in training.
        decoder: maps the output of the head and the list of features at ``decoder_levels`` to a finer map.
        decoder_levels: indices of these features, coarse to fine.
        dropout: probability of dropout before the classifier.
        align_corners: how the logits are resized to the image, as in ``torch.nn.functional.interpolate``.
        size_divisor: height and width are enlarged to multiples of this, for backbones that need it.

    Attributes:
        num_classes: classes of the logits.
        size_divisor: height and width are enlarged to multiples of this number. It includes the output stride, because
            for other sizes the feature maps inside the network are shifted against each other, which harms thin
            classes. With ``align_corners`` it is the argument alone, because there a multiple plus one is aligned.
        output_stride: stride of the map that the head works on.
        logits_stride: stride of the logits before they are resized to the image.

    Shape:
        ``(N, in_channels, H, W)`` normalized floats, ``H, W >= 32``, to ``(N, num_classes, H, W)`` logits; ``N = 1``
        works in training too.

    Raises:
        ValueError: ``size_divisor`` is below 1, ``align_corners`` is not a bool, or there are fewer than two classes.
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
        is_one = isinstance(classifier, OneOutput)
        _check_count(2 if is_one else classifier.out_channels)
        self.backbone, self.head, self.decoder, self.decoder_levels = backbone, head, decoder, list(decoder_levels)
        self.dropout, self.classifier, self.aux_head = nn.Dropout(dropout), classifier, aux_head
        self.num_classes, self.in_channels = 2 if is_one else classifier.out_channels, backbone.in_channels
        self.output_stride = backbone.strides[-1]
        self.align_corners = align_corners
        self.size_divisor = size_divisor if align_corners else math.lcm(size_divisor, self.output_stride)

    @property
    def input_multiple(self) -> int:
        """Height and width of the input should be multiples of this number of pixels."""
        return math.lcm(self.output_stride, self.size_divisor)

    @property
    def logits_stride(self) -> int:
        """Stride of the logits before they are resized to the image."""
        return self.backbone.strides[self.decoder_levels[-1] if self.decoder_levels else -1]

    def forward(
        self, x: torch.Tensor, return_aux: bool = False, upsample: bool = True
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Logits of ``x``.

        Args:
            x: ``(N, in_channels, H, W)`` normalized floats.
            return_aux: also return the logits of the auxiliary head, for the training loss.
            upsample: resize the logits to ``(H, W)``. If False they have `logits_stride`.

        Returns:
            ``(N, num_classes, H, W)``, or a pair of such tensors with ``return_aux``.

        Raises:
            ValueError: ``x`` is not ``(N, in_channels, H, W)``, not floating, or has a side below 32 pixels.
        """
        check_image_batch(x, self.in_channels)
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
        """The map ``(N, C, h, w)`` at `output_stride` that the context module receives; ``x`` as in `forward`."""
        check_image_batch(x, self.in_channels)
        return self.head.reduce(self.backbone(self._fit(x))[-1])

    def resize(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Resize logits ``(N, K, h, w)`` as `forward` does, to ``(N, K, H, W)`` for ``size = (H, W)``."""
        return upsample_bilinear(logits, size, self.align_corners)

    def _replace_classifiers(self, labels: LabelSet) -> None:
        count = len(labels.classes)
        _check_count(count)
        like = next(self.parameters())
        for parent in (self, self.aux_head):
            old = parent.classifier
            parent.classifier = build_classifier(old.in_channels, count, isinstance(old, OneOutput)).to(like)
        self.num_classes = count

    def _reorder_classifiers(self, order: Sequence[int], labels: LabelSet) -> None:
        for part in (self.classifier, self.aux_head.classifier):
            part.reorder(order) if isinstance(part, OneOutput) else take_rows(part, order)

    def _fit(self, x: torch.Tensor) -> torch.Tensor:
        """Enlarge images ``(N, C, H, W)`` to multiples of `size_divisor`, and to a size that BatchNorm can train on.

        With a divisor of 32, 50x70 becomes 64x96 and 64x96 is returned unchanged. The image is resized, not padded, so
        that the logits cover exactly the image, and callers with ``upsample=False`` can resize them to it.
        """
        divisor = self.size_divisor  # rounded up without negative numbers, whose division ONNX rounds the other way
        height, width = ((side + divisor - 1) // divisor * divisor for side in x.shape[-2:])
        if self.training and x.shape[0] == 1 and max(height, width) < 2 * self.output_stride:
            width = 2 * self.output_stride  # BatchNorm needs two values per channel
        # Comparing sizes while compiling would give one graph for sizes that fit and another for all others. So with a
        # divisor a compiled graph always resizes; at sizes that fit, this only copies the image.
        may_compare = self.size_divisor == 1 or not torch.compiler.is_compiling()
        if may_compare and (height, width) == tuple(x.shape[-2:]):
            return x
        # The library keeps the memory format, which the layers after it have, too.
        return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=self.align_corners)


class OneOutput(nn.Conv2d):
    """A 1x1 convolution to one logit, that of the second of two classes against the first, whose logit is zero.

    The softmax of both is the sigmoid of the one, and the cross-entropy the binary one.

    Shape:
        ``(N, channels, h, w)`` to ``(N, 2, h, w)``.
    """

    def __init__(self, channels: int):
        super().__init__(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logit = super().forward(x)
        return torch.cat([torch.zeros_like(logit), logit], 1)

    @torch.no_grad()
    def reorder(self, order: Sequence[int]) -> None:
        """Swap the two classes, in place, if ``order`` is 1, 0: the logit of one against the other changes its sign."""
        if order[0]:
            for value in self.parameters():
                value.neg_()


def build_classifier(channels: int, num_classes: int, one_output: bool = False) -> nn.Conv2d:
    """A 1x1 convolution to the logits of the classes, or `OneOutput` for two classes.

    Raises:
        ValueError: ``one_output`` with another number of classes.
    """
    check_flag(one_output=one_output)
    if not one_output:
        return nn.Conv2d(channels, num_classes, 1)
    if num_classes != 2:
        raise ValueError(f"one_output is for 2 classes, what is looked for and all else, got num_classes={num_classes}")
    return OneOutput(channels)


def _check_count(num_classes: int) -> None:
    if num_classes < 2:  # the class with the highest logit would be 0 everywhere, and the loss, too
        raise ValueError(f"num_classes={num_classes}: expected 2 or more; what surrounds the objects is a class, too")


def auxiliary_head(
    channels: int,
    num_classes: int,
    dropout: float,
    width: int | None = None,
    bias: bool = False,
    one_output: bool = False,
) -> nn.Sequential:
    """A head for a second loss: an optional 3x3 convolution, dropout and a classifier.

    Args:
        channels: of the feature.
        num_classes: of the logits.
        dropout: probability of dropout before the classifier.
        width: output channels of the 3x3 convolution; None for no convolution.
        bias: whether the 3x3 convolution has a bias.
        one_output: as of `build_classifier`.

    Shape:
        ``(N, channels, h, w)`` to ``(N, num_classes, h, w)``.
    """
    parts = OrderedDict()
    if width is not None:
        parts["fuse"] = conv_bn_relu(channels, width, bias=bias)
    parts["dropout"] = nn.Dropout(dropout)
    parts["classifier"] = build_classifier(channels if width is None else width, num_classes, one_output)
    return nn.Sequential(parts)
