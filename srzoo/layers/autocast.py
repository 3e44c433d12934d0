"""Leaving autocast for the small float32 part of a block."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.amp import is_autocast_available


def autocast_off(device_type: str) -> AbstractContextManager:
    """Leave autocast, where the device has one: the meta device, on which models are counted, has none."""
    return torch.autocast(device_type, enabled=False) if is_autocast_available(device_type) else nullcontext()
