"""Double attention, "a2"."""

import torch

from .attention import ProjectedContext
from .checks import divided


class DoubleAttention(ProjectedContext):
    """Double attention block of A2-Nets (Chen et al., 2018, section 2): gather features, then distribute them.

    ``Z = [A softmax(B)^T] softmax(V)``. ``A`` are the features (here the value). ``B`` are the maps that gather them
    (the key), each normalized over the pixels. ``V`` are the maps that distribute them (the query), normalized over the
    maps. Table 1 of arXiv 2011.03308: computation ``O(C^2 HW)``, affinity memory ``O(C^2)``.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C`` divided by the width of ``A``, ``B`` and ``V``.
        heads: number of groups of channels, each with its own attention. Chen et al. have one group; the multiply-adds
            in Table 3 are those of 16.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``, or ``channels / reduction`` by ``heads``.
    """

    def __init__(self, channels: int, reduction: int = 2, heads: int = 16):
        super().__init__(channels, reduction)
        divided(channels // reduction, heads, "heads")
        self.heads = heads

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query, key, features = (each.flatten(2).unflatten(1, (self.heads, -1)) for each in (query, key, value))
        gathered = features @ torch.softmax(key, 3).mT  # (N, heads, R / heads, maps)
        return (gathered @ torch.softmax(query, 2)).flatten(1, 2)
