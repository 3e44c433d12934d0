"""What a module gives, found on the meta device: it takes no memory and little time."""

import copy

import torch
from torch import nn


def on_meta(model: nn.Module) -> nn.Module:
    """A copy on the meta device: the same structure, with tensors that have no memory."""
    memo = {id(b): torch.empty_like(b, device="meta") for b in model.buffers()}
    for p in model.parameters():
        memo[id(p)] = nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False)
    return copy.deepcopy(model, memo)


def placed_like(*modules: nn.Module) -> torch.Tensor:
    """A tensor with the device and dtype of the modules: their first floating parameter, if there is one."""
    parameters = (p for module in modules for p in module.parameters() if p.is_floating_point())
    return next(parameters, torch.empty(0))


def check_shape_stays(block: nn.Module, shape: tuple[int, ...], out_channels: int | None = None) -> None:
    """Check that a block keeps the shape of a map.

    Args:
        block: the block.
        shape: ``(N, C, H, W)``.
        out_channels: of the output; default those of the shape.

    Raises:
        ValueError: it is no module, or gives another shape.
    """
    if not isinstance(block, nn.Module):
        raise ValueError(f"the block must be an nn.Module, got {type(block).__name__}")
    try:
        with torch.device("meta"), torch.no_grad():
            output = on_meta(block).eval()(torch.empty(shape, dtype=placed_like(block).dtype))
    except Exception:  # a user's block may need values, which a meta tensor does not have
        return
    found = tuple(output.shape) if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
    expected = (shape[0], out_channels or shape[1], *shape[2:])
    if found != expected:
        raise ValueError(f"the block gives {found} for a map of {tuple(shape)}; it must give {expected}")
