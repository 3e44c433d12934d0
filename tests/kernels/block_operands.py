"""Operands of the block's operators, and the block by the operators of its steps, to compare with."""

import torch

from srzoo_kernels import channel_affine, gram, graph_reason

# (N, C, H, W), nodes and channels of a node; R = k * d need not be C / 2.
SHAPES = [((3, 24, 7, 5), 3, 4), ((1, 40, 1, 1), 5, 2), ((1, 70, 9, 13), 4, 17)]


def weights_of(channels, k, d, dtype, device):
    """``W_t``, ``W_p``, ``W_R``, ``A_g`` and ``W_g``, the first three as 1x1 convolutions have them."""
    generator = torch.Generator().manual_seed(channels)
    shapes = [(k * d, channels, 1, 1), (k * d, channels, 1, 1), (channels, k * d, 1, 1), (k, k), (d, d)]
    scales = [channels**-0.5, channels**-0.5, 0.2, 0.2, 0.5]
    drawn = (torch.randn(shape, generator=generator) * scale for shape, scale in zip(shapes, scales))
    return [each.to(device, dtype) for each in drawn]


def composed(x, transform, pair, project, adjacency, weight):
    """The block by the operators that have a gradient."""
    second = gram(x)[0] / (x.shape[2] * x.shape[3])
    t, p = transform.flatten(1).to(second.dtype), pair.flatten(1).to(second.dtype)
    z = graph_reason(((t @ second) * p).sum(2).to(transform.dtype), adjacency, weight)
    return channel_affine(x, (project.flatten(1) * z[:, None, :]) @ transform.flatten(1))
