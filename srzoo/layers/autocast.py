"""Leaving autocast for the small float32 part of a block."""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast_off(device_type: str) -> AbstractContextManager:
    """Leave autocast, which the meta device, on which models are counted, does not have."""
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)
