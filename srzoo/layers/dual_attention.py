"""Dual attention, "da"."""

import torch
from torch import nn

from srzoo_kernels import channel_affine, gram
from srzoo_kernels.autocast import no_autocast
from srzoo_kernels.checks import check_feature_map

from .attention import pixel_attention, pixel_attention_direct
from .checks import divided


class DualAttention(nn.Module):
    """Position and channel attention of DANet (Fu et al., 2019, Eq. 1 to 4), summed.

    ``Y = X + alpha P + beta Q``: ``P`` attends over all pixels, with queries and keys of ``C / reduction`` channels;
    ``Q = softmax(-X X^T) X`` over all channels, the sign as in the authors' code, which gives weight to unlike
    channels. ``alpha`` and ``beta`` start at zero, so a new block is the identity. Table 1 of arXiv 2011.03308:
    computation ``O(C (HW)^2 + HW C^2)``, affinity memory ``O((HW)^2 + C^2)``; `forward` stores the ``C^2`` alone.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C`` over the width of the position attention's queries and keys; DANet's is 8.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``. ``X X^T`` is float32 under autocast too.

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
        """The same block with its ``HW x HW`` matrix stored, as published: the form to compare with."""
        check_feature_map(x, channels=self.channels)
        position = pixel_attention_direct(self.query(x), self.key(x), self.value(x))
        pixels = x.flatten(2)
        channel = torch.softmax(-(pixels @ pixels.mT), 2) @ pixels
        return x + (self.alpha * position + self.beta * channel).view_as(x)
