"""Checks of what a context module is given."""

import torch


def divided(channels: int, parts: int, what: str = "reduction") -> int:
    """``channels / parts``.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    if channels < 1 or parts < 1 or channels % parts:
        raise ValueError(f"channels={channels} is not divisible by {what}={parts}")
    return channels // parts


def check_map(x: torch.Tensor, channels: int) -> None:
    """Refuse anything but ``(N, channels, H, W)`` with at least one pixel.

    Raises:
        ValueError: another shape.
    """
    if x.dim() != 4 or x.shape[1] != channels or 0 in x.shape[2:]:
        raise ValueError(f"expected x of shape (N, {channels}, H, W) with H, W >= 1, got {tuple(x.shape)}")
