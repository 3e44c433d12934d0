"""Expectation-maximization attention unit, "ema"."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from srzoo_kernels.checks import check_feature_map

from .checks import check_share, check_whole
from .conv import LenientBatchNorm1d
from .leaf import NotScriptable


class ExpectationMaximizationAttention(NotScriptable, nn.Module):
    """Expectation-maximization attention unit of EMANet (Li et al., 2019, section 4).

    ``Y = relu(X + BN(W_2 relu(mu Z^T)))``. The pixels of ``W_1 X`` are clustered into ``K`` bases ``mu``. Each
    iteration computes the responsibilities ``Z = softmax((W_1 X)^T mu)`` (expectation), then the bases as the means
    weighted by ``Z`` (maximization). At the end each pixel is a mean of the bases, weighted by ``Z``. Computation
    per iteration ``O(C HW K)``; arXiv 2011.03308 counts the unit in Table 3 but not in Table 1.

    In training, the bases that the next batch starts from are a moving mean of the final bases of each batch. The
    gradient flows through the iterations. The authors' code stops it there, so that ``W_1`` is never trained.

    Args:
        channels: ``C`` of the input and the output.
        bases: number of bases ``K``.
        iterations: number of expectation and maximization steps.
        momentum: of the moving mean; the final bases of a batch have weight ``1 - momentum``.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``, any floating dtype. The output is not negative.

    Raises:
        ValueError: ``channels``, ``bases`` or ``iterations`` is below 1, or ``momentum`` not from 0 to 1.
    """

    KEEPS_OUTPUT = True  # of its last ReLU, for the backward pass

    def __init__(self, channels: int, bases: int = 64, iterations: int = 3, momentum: float = 0.9):
        super().__init__()
        check_whole(channels=channels, bases=bases, iterations=iterations)
        check_share(momentum=momentum)
        self.channels, self.iterations, self.momentum = channels, iterations, momentum
        self.reduce = nn.Conv2d(channels, channels, 1)
        # 1D, over the flattened pixels, for the reason given in `ProjectedContext`.
        self.project = nn.Sequential(
            OrderedDict(conv=nn.Conv1d(channels, channels, 1, bias=False), bn=LenientBatchNorm1d(channels))
        )
        self.register_buffer("bases", F.normalize(torch.randn(channels, bases), dim=0))

    def extra_repr(self) -> str:
        return f"{self.channels}, bases={self.bases.shape[1]}, iterations={self.iterations}, momentum={self.momentum}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_feature_map(x, channels=self.channels)
        pixels = self.reduce(x).flatten(2)  # (N, C, P)
        bases = self.bases.repeat(x.shape[0], 1, 1)  # (N, C, K), a copy: the buffer changes below
        for _ in range(self.iterations):
            belonging = torch.softmax(pixels.mT @ bases, 2)  # (N, P, K)
            bases = F.normalize(pixels @ (belonging / (belonging.sum(1, keepdim=True) + 1e-6)), dim=1)
        if self.training:
            with torch.no_grad():
                self.bases.lerp_(bases.mean(0).to(self.bases.dtype), 1 - self.momentum)
        rebuilt = F.relu(bases @ belonging.mT, inplace=True)
        return F.relu(x + self.project(rebuilt).view_as(x), inplace=True)
