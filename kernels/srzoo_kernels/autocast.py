"""Autocast, switched off around what has to be computed in the dtypes it is given."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps

import torch


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """The dtype that autocast computes in on this kind of device ("cpu", "cuda"), or None where it is off.

    The meta device, on which models are counted, has no autocast; ``torch.is_autocast_enabled`` raises an error for it.
    """
    if device_type == "meta" or not torch.is_autocast_enabled(device_type):
        return None
    return torch.get_autocast_dtype(device_type)


def autocast_operands(*operands: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    """What a convolution computes with, the first of ``operands`` being its input: in autocast's dtype where it is on.

    float64, and what is not floating, keeps its dtype, as in PyTorch.
    """
    dtype = autocast_dtype(operands[0].device.type)
    if dtype is None:
        return operands
    return tuple(
        each if each is None or each.dtype is torch.float64 or not each.is_floating_point() else each.to(dtype)
        for each in operands
    )


def no_autocast(device_type: str) -> AbstractContextManager:
    """Disable autocast where it is enabled. A no-op elsewhere, so that torch.export records no autocast region.

    Args:
        device_type: "cpu", "cuda", ..., as in ``torch.autocast``, or "meta".
    """
    return nullcontext() if autocast_dtype(device_type) is None else torch.autocast(device_type, enabled=False)


def without_autocast(kernel: Callable) -> Callable:
    """Run ``kernel``, whose first operand is a tensor, in its operands' dtypes.

    Autocast would reach the products inside an operator, and round what they multiply.
    """

    @wraps(kernel)
    def run(*operands):
        if not torch._C._is_any_autocast_enabled():  # a twelfth of what asking for one device's takes
            return kernel(*operands)
        with no_autocast(operands[0].device.type):
            return kernel(*operands)

    return run
