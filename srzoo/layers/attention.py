"""Attention between pixels, and the four 1x1 convolutions that most context modules put around theirs."""

import torch
from torch import nn
from torch.nn import functional as F

from srzoo_kernels.checks import check_feature_map

from .checks import divided


class ProjectedContext(nn.Module):
    """``Y = X + W_z attend(W_q X, W_k X, W_v X)``: three 1x1 convolutions to ``C / reduction`` channels, one back.

    ``W_z`` starts at zero, so a new module is the identity and can be put into a trained network (Wang et al., 2018,
    section 3.3). A subclass gives ``attend``, maps of ``(N, R, H, W)`` to pixels of ``(N, R, HW)``. The key has no
    bias: in a softmax it would cancel.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``.
    """

    def __init__(self, channels: int, reduction: int = 2):
        super().__init__()
        reduced = divided(channels, reduction)
        self.channels, self.reduction = channels, reduction
        self.query = nn.Conv2d(channels, reduced, 1)
        self.key = nn.Conv2d(channels, reduced, 1, bias=False)
        self.value = nn.Conv2d(channels, reduced, 1)
        # Over the pixels in a line: TorchInductor fails on a 2D convolution of a view with a free height and width.
        self.project = nn.Conv1d(reduced, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}"

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_feature_map(x, channels=self.channels)
        return x + self.project(self.attend(self.query(x), self.key(x), self.value(x))).view_as(x)


def pixel_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``softmax(Q^T K) V`` over all pairs of pixels, without a scale; memory grows with ``HW``, not its square.

    Args:
        query, key: ``(N, R, H, W)``.
        value: ``(N, V, H, W)``, ``V`` a multiple of ``R``.

    Returns:
        ``(N, V, HW)``.
    """
    # Contiguous rows of one width, or PyTorch falls back to storing the matrix: a wider value is taken in several heads
    # of the same attention. Copies, not views, are what autograd keeps: TorchInductor fails on a view of a free length.
    heads = value.shape[1] // query.shape[1]
    q, k = (each.flatten(2).mT[:, None].contiguous() for each in (query, key))
    if heads > 1:
        q, k = (each.expand(-1, heads, -1, -1) for each in (q, k))
    v = value.flatten(2).unflatten(1, (heads, -1)).mT.contiguous()
    return F.scaled_dot_product_attention(q, k, v, scale=1.0).mT.contiguous().flatten(1, 2)


def pixel_attention_direct(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The same with its ``HW x HW`` matrix stored: the form to compare with."""
    affinity = torch.softmax(query.flatten(2).mT @ key.flatten(2), 2)
    return value.flatten(2) @ affinity.mT
