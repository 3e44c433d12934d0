"""What every family of segmentation models does around its own parts."""

import math

import torch
from torch.nn import functional as F

from ..backbones import FeatureBackbone
from ..layers.checks import check_flag, check_whole
from .base import ZooModel


class SegmentationNet(ZooModel):
    """Features of a backbone, a head on the last of them, a decoder over finer ones, a classifier.

    A family sets these parts after this constructor:

    * ``head``: the last feature ``(N, C, h, w)`` to ``(N, D, h, w)``; what it holds is its family's own.
    * ``decoder`` and ``decoder_levels``: from the head's output and the features at these indices to a finer map; None
      and [] for none.
    * ``dropout`` and ``classifier``: to logits.
    * ``aux_head``: the last feature but one to logits, for a second loss in training.

    Args:
        backbone: gives the features.
        num_classes: classes of the logits.
        align_corners: how the logits are resized to the image, as in ``torch.nn.functional.interpolate``.
        size_divisor: enlarge the input to a multiple of this, for backbones that need it.

    Attributes:
        size_divisor: what sides are enlarged to multiples of: of the output stride too, as else the maps within the
            network are shifted against each other, which thin classes do not forgive. With ``align_corners`` other
            sides line up, those of a multiple and one: there it is as given.
        output_stride: of the map that the head works on.
        logits_stride: of the logits before they are resized.

    Raises:
        ValueError: ``num_classes`` or ``size_divisor`` is below 1, ``align_corners`` neither True nor False.
    """

    task = "semantic"

    def __init__(self, backbone: FeatureBackbone, num_classes: int, align_corners: bool = False, size_divisor: int = 1):
        super().__init__()
        check_whole(num_classes=num_classes, size_divisor=size_divisor)
        check_flag(align_corners=align_corners)
        self.backbone, self.num_classes = backbone, num_classes
        self.output_stride = backbone.strides[-1]
        self.align_corners = align_corners
        self.size_divisor = size_divisor if align_corners else math.lcm(size_divisor, self.output_stride)

    @property
    def logits_stride(self) -> int:
        return self.backbone.strides[self.decoder_levels[-1] if self.decoder_levels else -1]

    def forward(
        self, x: torch.Tensor, return_aux: bool = False, upsample: bool = True
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Logits of ``x``.

        Args:
            x: ``(N, 3, H, W)`` normalised floats.
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
            logits = self._resize(logits, size)
            aux = self._resize(aux, size) if return_aux else None
        return (logits, aux) if return_aux else logits

    def context_input(self, x: torch.Tensor) -> torch.Tensor:
        """The map ``(N, C, h, w)`` at ``output_stride`` that the context module works on; ``x`` as in `forward`."""
        _check_image_batch(x)
        feature = self.backbone(self._fit(x))[-1]
        return self.head.reduce(feature) if hasattr(self.head, "reduce") else feature

    def _fit(self, x: torch.Tensor) -> torch.Tensor:
        """Enlarge to what the maps fit into, and to what BatchNorm in training can take.

        Not padded: the logits have to cover the image and nothing else, for those who resize them themselves.
        """
        height, width = (-(-side // self.size_divisor) * self.size_divisor for side in x.shape[-2:])
        if self.training and x.shape[0] == 1 and max(height, width) < 2 * self.output_stride:
            width = 2 * self.output_stride  # else one value per channel, of which there is no variance
        # In a compiled graph the comparison would hold its answer fast, for sizes that have another.
        may_compare = self.size_divisor == 1 or not torch.compiler.is_compiling()
        if may_compare and (height, width) == tuple(x.shape[-2:]):
            return x
        return self._resize(x, (height, width))

    def _resize(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)


def _check_image_batch(x: torch.Tensor) -> None:
    if x.dim() != 4 or x.shape[1] != 3:
        raise ValueError(f"expected a batch of images of shape (N, 3, H, W), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(
            f"expected images in floating point, got {x.dtype}; model.config.transform.normalize(x) does it"
        )
    if min(x.shape[-2:]) < 32:
        raise ValueError(f"expected height and width of at least 32, got {tuple(x.shape[-2:])}; resize the image first")
