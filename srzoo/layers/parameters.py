"""Reading the parameters of layers that a block computes with, and calling layers in another dtype than theirs."""

import functools

import torch
from torch import nn
from torch.nn import functional as F
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


def widened(x: torch.Tensor, *weights: torch.Tensor) -> list[torch.Tensor]:
    """``x`` and the weights in the widest dtype of all."""
    dtype = functools.reduce(torch.promote_types, (each.dtype for each in weights), x.dtype)
    return [each.to(dtype) for each in (x, *weights)]


def in_dtype_of(x: torch.Tensor, layer: nn.Linear | nn.Conv1d | nn.BatchNorm1d) -> torch.Tensor:
    """``layer(x)`` with the layer's weights in the dtype of ``x``, if that is wider; a convolution is a 1x1 one."""
    # Read as an attribute: of a copy that nn.DataParallel made it is no parameter, and of a quantized layer a method.
    own = layer.weight
    if not isinstance(own, torch.Tensor) or torch.promote_types(x.dtype, own.dtype) == own.dtype:
        return layer(x)
    weight, bias = parameter_of(layer), parameter_of(layer, "bias")
    weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    if isinstance(layer, nn.Conv1d):
        return F.conv1d(x, weight, bias)
    statistics = layer.running_mean, layer.running_var
    wide = [each.to(x.dtype) for each in statistics]
    updates = layer.training and x.numel() > x.shape[1]  # else as of `LenientBatchNorm1d`
    y = F.batch_norm(x, *wide, weight, bias, updates, layer.momentum, layer.eps)
    if updates:
        for each, updated in zip(statistics, wide, strict=True):
            each.copy_(updated)
        layer.num_batches_tracked.add_(1)
    return y
