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
    if not isinstance(device, (str, int, torch.device)):
        raise ValueError(f"device must be 'auto', a name such as 'cuda:1', or a torch.device, got {device!r}")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # the last two of builds without it
        reason = one_line(error).partition(". ")[0]  # after it PyTorch lists all of its backends
        raise ValueError(f"device {str(device)!r} is not available here ({reason}); try 'cpu'") from error
    return device
