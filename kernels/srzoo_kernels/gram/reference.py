"""First and second moments of a feature map over its pixels."""

import torch

from ..checks import check_feature_map
from ..layout import accumulation_dtype


def gram(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``S = X X^T`` and ``m = X 1``, with ``X`` the ``C x HW`` matrix of each image.

    Every squeeze of the paper is a function of these two: Hadamard pooling (Eq. 4) of ``T = W_t X`` and
    ``B = W_p X`` is ``g_c = w_t[c] S w_p[c]^T``, average pooling of ``T`` is ``W_t m / HW``.

    Args:
        x: ``(N, C, H, W)``, any floating dtype, contiguous or channels_last.

    Returns:
        ``S`` of shape ``(N, C, C)`` and ``m`` of shape ``(N, C)``, sums (not means) in float32, or in float64
        for a float64 ``x``.

    Raises:
        ValueError: ``x`` is not four-dimensional, not floating, or has no channels or no pixels.
    """
    check_feature_map(x)
    matrix = x.to(accumulation_dtype(x)).flatten(2)
    return matrix @ matrix.mT, matrix.sum(2)
