"""Non-local block, "nl"."""

import torch

from srzoo_kernels.checks import check_feature_map

from .attention import ProjectedContext, pixel_attention, pixel_attention_direct


class NonLocal(ProjectedContext):
    """Non-local block in its embedded Gaussian form (Wang et al., 2018, Eq. 1, 3 and 6).

    ``Y = X + W_z softmax(theta(X)^T phi(X)) g(X)``, where the softmax runs over the pixels attended to. Table 1 of
    arXiv 2011.03308: computation ``O(C (HW)^2)``, affinity memory ``O((HW)^2)``. ``forward`` never stores the affinity;
    ``forward_direct`` does.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C`` divided by the width of theta, phi and g.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``, any floating dtype.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``.
    """

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return pixel_attention(query, key, value)

    def forward_direct(self, x: torch.Tensor) -> torch.Tensor:
        """The same values with the ``HW x HW`` matrix stored, as published. Tests and benchmarks compare with it."""
        check_feature_map(x, channels=self.channels)
        return x + self.project(pixel_attention_direct(self.query(x), self.key(x), self.value(x))).view_as(x)
