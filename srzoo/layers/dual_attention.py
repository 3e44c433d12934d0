"""Dual attention, "da"."""

import torch
from torch import nn

from srzoo_kernels import channel_affine, gram
from srzoo_kernels.autocast import no_autocast
from srzoo_kernels.checks import check_feature_map

from .attention import pixel_attention, pixel_attention_direct
from .checks import divided
from .leaf import NotScriptable


class DualAttention(NotScriptable, nn.Module):
    """The sum of position and channel attention of DANet (Fu et al., 2019, Eq. 1 to 4).

    ``Y = X + alpha P + beta Q``. ``P`` is attention over all pixels, with queries and keys of ``C / reduction``
    channels. ``Q = softmax(-X X^T) X`` is attention over all channels; the sign is that of the authors' code, so
    dissimilar channels get the larger weights. ``alpha`` and ``beta`` start at zero, so a new module is the identity.
    Table 1 of arXiv 2011.03308: computation ``O(C (HW)^2 + HW C^2)``, affinity memory ``O((HW)^2 + C^2)``, of which
    ``forward`` stores only the ``C^2``.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C`` divided by the width of the position attention's queries and keys; 8 in DANet.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``, any floating dtype. ``X X^T`` is computed in float32 under
        autocast too.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``.
    """

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        reduced = divided(channels, reduction)
        self.channels, self.reduction = channels, reduction
        self.query = nn.Conv2d(channels, reduced, 1)
        self.key = nn.Conv2d(channels, reduced, 1, bias=False)  # it would cancel in the softmax
        self.value = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(()))
        self.beta = nn.Parameter(torch.zeros(()))

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_feature_map(x, channels=self.channels)
        position = pixel_attention(self.query(x), self.key(x), self.value(x))
        with no_autocast(x.device.type):
            second, _ = gram(x)
            with_channels = channel_affine(x, self.beta * torch.softmax(-second, 2))
        return with_channels + self.alpha * position.view_as(x)

    def forward_direct(self, x: torch.Tensor) -> torch.Tensor:
        """The same values with the ``HW x HW`` matrix stored, as published. Tests and benchmarks compare with it."""
        check_feature_map(x, channels=self.channels)
        position = pixel_attention_direct(self.query(x), self.key(x), self.value(x))
        pixels = x.flatten(2)
        channel = torch.softmax(-(pixels @ pixels.mT), 2) @ pixels
        return x + (self.alpha * position + self.beta * channel).view_as(x)
