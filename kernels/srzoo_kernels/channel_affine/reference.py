"""One affine map of the channels per image, added to its input."""

import torch

from ..checks import check_affine
from ..layout import is_channels_last
from ..operators import is_transformed


def channel_affine(x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``y = x + M x + b`` at every pixel, with one ``M`` and one ``b`` per image.

    This is the paper's reconstruction (Eq. 7) with its two 1x1 convolutions multiplied out:
    ``W_R (z * (W_t X)) = (W_R diag(z) W_t) X``.

    Args:
        x: ``(N, C, H, W)``, any floating dtype, contiguous or channels_last.
        matrix: ``(N, C, C)``; rounded to ``x``'s dtype before the product.
        bias: ``(N, C)`` or None.

    Returns:
        A tensor of ``x``'s shape, dtype and memory format.

    Raises:
        ValueError: a shape, dtype or device does not fit ``x``'s.
    """
    check_affine(x, matrix, bias)
    n, c, h, w = x.shape
    matrix = matrix.to(x.dtype)
    # (N, HW, C) is a view of a channels_last map, and so is the way back. vmap cannot tell the order in memory.
    if not is_transformed() and is_channels_last(x):
        pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
        y = torch.baddbmm(pixels, pixels, matrix.mT).reshape(n, h, w, c).permute(0, 3, 1, 2)
    else:
        pixels = x.reshape(n, c, h * w)
        y = torch.baddbmm(pixels, matrix, pixels).reshape(n, c, h, w)
    return y if bias is None else y + bias.to(x.dtype)[:, :, None, None]
