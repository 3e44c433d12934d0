"""Devices by name."""

from __future__ import annotations

import torch

from ..messages import one_line


def resolve_device(device: str | torch.device) -> torch.device:
    """The device, which works.

    Raises:
        ValueError: it does not exist, or this build of PyTorch does not support it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device is None:
        raise ValueError("device=None: expected 'auto', 'cpu', 'cuda', or what else torch.device takes")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:  # of builds without it, and of no device
        reason = one_line(error).partition(". ")[0].partition(", but expected")[0]  # PyTorch goes on with lists
        raise ValueError(f"device {str(device)!r} is not available here ({reason}); try 'cpu'") from error
    return device
