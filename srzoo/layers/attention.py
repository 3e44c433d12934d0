"""Attention between pixels, and the 1x1 convolutions that most context modules have around it."""

import torch
from torch import nn
from torch.nn import functional as F

from srzoo_kernels.checks import check_feature_map

from .checks import divided
from .leaf import NotScriptable


class ProjectedContext(NotScriptable, nn.Module):
    """Base class of the context modules that compute ``Y = X + W_z attend(W_q X, W_k X, W_v X)``.

    Query, key and value are 1x1 convolutions to ``R = C / reduction`` channels, and ``W_z`` is one back to ``C``. The
    key has no bias, as it would cancel in a softmax. ``W_z`` starts at zero, so a new module is the identity and can be
    added to a trained network (Wang et al., 2018, section 3.3). A subclass implements `attend`.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C / R``.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``, any floating dtype.

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
        # 1D, over the flattened pixels: TorchInductor fails on a 2D convolution of a view of dynamic height and width.
        self.project = nn.Conv1d(reduced, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}"

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """The attended pixels ``(N, R, HW)`` for a query, key and value of ``(N, R, H, W)`` each."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_feature_map(x, channels=self.channels)
        return x + self.project(self.attend(self.query(x), self.key(x), self.value(x))).view_as(x)


def pixel_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``softmax(Q^T K) V`` over all pairs of pixels, without a scale. The ``HW x HW`` matrix is never stored.

    Args:
        query, key: ``(N, R, H, W)``, floating.
        value: ``(N, V, H, W)``, ``V`` a multiple of ``R``.

    Returns:
        ``(N, V, HW)``.
    """
    # PyTorch stores the matrix unless query, key and value have contiguous rows of one width. So a wider value is split
    # into several heads with the same attention. The rows are copied because TorchInductor fails when autograd keeps a
    # view of dynamic length.
    heads = value.shape[1] // query.shape[1]
    q, k = (each.flatten(2).mT[:, None].contiguous() for each in (query, key))  # (N, 1, HW, R)
    if heads > 1:
        q, k = (each.expand(-1, heads, -1, -1) for each in (q, k))  # (N, V / R, HW, R)
    v = value.flatten(2).unflatten(1, (heads, -1)).mT.contiguous()  # (N, V / R, HW, R)
    return F.scaled_dot_product_attention(q, k, v, scale=1.0).mT.contiguous().flatten(1, 2)


def pixel_attention_direct(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`pixel_attention` with its ``HW x HW`` matrix stored. Tests and benchmarks compare with it."""
    affinity = torch.softmax(query.flatten(2).mT @ key.flatten(2), 2)
    return value.flatten(2) @ affinity.mT
