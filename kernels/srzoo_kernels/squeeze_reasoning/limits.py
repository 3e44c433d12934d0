"""Which operands the block's kernels take."""

import torch

from ..launch import triton_multiplies

_WEIGHT_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
# What a program holds in registers: beyond these, code for each NVIDIA architecture spills.
_MAX_NODES, _MAX_NODE_CHANNELS, _MAX_PRODUCTS = 64, 32, 16384
_MAX_CHANNELS = 1024  # beyond, the one program that adds up the shares of the squeezed vector would read megabytes


def fits(x: torch.Tensor, transform: torch.Tensor, adjacency: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether the block's kernels take these operands, of which nothing has been checked yet."""
    shape = x.shape
    return (
        len(shape) == 4
        and adjacency.dim() == weight.dim() == 2
        and shape[1] <= _MAX_CHANNELS
        and triton_multiplies(x)
        and adjacency.shape[0] <= _MAX_NODES
        and weight.shape[0] <= _MAX_NODE_CHANNELS
        and adjacency.shape[0] * weight.numel() <= _MAX_PRODUCTS  # of G^T and W_g
        and transform.dtype in _WEIGHT_DTYPES
    )
