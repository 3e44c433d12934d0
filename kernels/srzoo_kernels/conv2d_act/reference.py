"""A convolution with what follows it, as the library has them."""

import torch
from torch.nn import functional as F

ACTIVATIONS = {  # in place, of a convolution's result, which nobody else has
    "identity": lambda x: x,
    "relu": F.relu_,
    "relu6": lambda x: F.relu6(x, inplace=True),
}


def filters(weight: torch.Tensor) -> torch.Tensor:
    """The weight as ``conv2d`` has it: ``(kh, kw, C)``, one filter for each channel, as ``(C, 1, kh, kw)``."""
    return weight.permute(2, 0, 1)[:, None] if weight.dim() == 3 else weight


def conv2d_act(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str = "identity",
    residual: torch.Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> torch.Tensor:
    """``activation(conv2d(x) + bias + residual)``; arguments as ``op.conv2d_act`` has them."""
    x, outer = padded(x, padding)
    groups = x.shape[1] if weight.dim() == 3 else groups
    y = F.conv2d(x, filters(weight), bias, stride, outer, dilation, groups)
    if residual is not None:
        y += residual
    return ACTIVATIONS[activation](y)


def padded(x: torch.Tensor, padding: tuple[int, int, int, int]) -> tuple[torch.Tensor, tuple[int, int]]:
    """``x``, and the padding that is left to the convolution: what is equal on both sides of each axis."""
    top, bottom, left, right = padding
    if top == bottom and left == right:
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom)), (0, 0)
