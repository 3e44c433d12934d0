"""Double attention, "a2"."""

import torch

from .attention import ProjectedContext
from .checks import divided


class DoubleAttention(ProjectedContext):
    """Double attention block of A2-Nets (Chen et al., 2018, section 2): gather features, then hand them out.

    ``Z = [A softmax(B)^T] softmax(V)``: ``A`` the features (here the value), ``B`` the maps to gather by (the key),
    each normalized over the pixels, ``V`` the maps to hand out by (the query), normalized over the maps. Table 1 of
    arXiv 2011.03308: computation ``O(C^2 HW)``, affinity memory ``O(C^2)``.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C`` over the width of ``A``, ``B`` and ``V``.
        heads: groups of channels that attend apart. Chen et al. have one; the multiply-adds of Table 3 leave room for
            no more than what 16 cost.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``, or what that gives by ``heads``.
    """

    def __init__(self, channels: int, reduction: int = 2, heads: int = 16):
        super().__init__(channels, reduction)
        divided(channels // reduction, heads, "heads")
        self.heads = heads

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query, key, features = (each.flatten(2).unflatten(1, (self.heads, -1)) for each in (query, key, value))
        gathered = features @ torch.softmax(key, 3).mT  # (N, heads, channels, maps)
        return (gathered @ torch.softmax(query, 2)).flatten(1, 2)
