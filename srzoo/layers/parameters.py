"""Reading the parameters of layers that a block computes with, and calling layers in another dtype than theirs."""

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

# Those that set an attribute by a hook before each call, as `torch.nn.utils.parametrize` does not.
_SETTERS = (BasePruningMethod, SpectralNorm, WeightNorm)


def parameter_of(layer: nn.Module, name: str = "weight") -> torch.Tensor:
    """A parameter of ``layer``, or what has been put in its place: a parametrization, pruning, or a normalization."""
    found = layer._parameters.get(name)  # as the attribute would take a quarter of the time of a call
    if found is not None:
        return found
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, _SETTERS):
            hook(layer, None)
    return getattr(layer, name)


def in_dtype_of(x: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    """``layer(x)`` with the layer's parameters and buffers in the dtype of ``x``, for blocks in half precision."""
    state = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    if all(each.dtype == x.dtype or not each.is_floating_point() for each in state.values()):
        return layer(x)
    wide = {name: each.to(x.dtype) if each.is_floating_point() else each for name, each in state.items()}
    y = functional_call(layer, wide, (x,))
    if layer.training:  # running statistics, of which the copies were updated
        for name, buffer in layer.named_buffers():
            buffer.copy_(wide[name])
    return y
