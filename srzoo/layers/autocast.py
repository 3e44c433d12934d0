"""Leaving autocast for the small float32 part of a block."""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast_off(device_type: str) -> AbstractContextManager:
    """Leave autocast where it is on: an export would wrap the block in a context of its own where there is none.

    The meta device, on which models are counted, has no autocast.
    """
    on = device_type != "meta" and torch.is_autocast_enabled(device_type)
    return torch.autocast(device_type, enabled=False) if on else nullcontext()
