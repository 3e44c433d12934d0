"""Squeeze-and-Excitation, "se"."""

import torch
from torch import nn

from srzoo_kernels.checks import check_feature_map

from .checks import divided
from .leaf import NotScriptable


class SqueezeExcitation(NotScriptable, nn.Module):
    """Squeeze-and-Excitation (Hu et al., 2018, Eq. 2 to 4): ``Y = X * sigmoid(W_2 relu(W_1 mean(X)))``.

    Computation ``O(C HW)``; arXiv 2011.03308 counts it in Table 3 but not in Table 1.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C`` divided by the width between the two layers; 16 in the source.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``, any floating dtype.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``.
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        reduced = divided(channels, reduction)
        self.channels = channels
        self.reduce = nn.Linear(channels, reduced)
        self.expand = nn.Linear(reduced, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_feature_map(x, channels=self.channels)
        weights = torch.sigmoid(self.expand(torch.relu(self.reduce(x.mean((2, 3))))))
        return x * weights[:, :, None, None]
