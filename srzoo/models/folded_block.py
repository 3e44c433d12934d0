"""Squeeze Reasoning and the convolution after it as one convolution, with weights for each image."""

from __future__ import annotations

import torch
from torch import nn

from srzoo_kernels import squeeze_reasoning_weights
from srzoo_kernels.autocast import no_autocast

from ..layers import SqueezeReasoning
from ..layers.parameters import parameter_of
from .conv_act import convolve


class FoldedBlock(nn.Module):
    """``conv(block(x))`` for a k x k convolution ``V``; as one convolution with weights per image where it is cheaper.

    The block is ``X + M X`` with ``M = W_R diag(z) W_t``, so ``V * (X + M X) = (V + V M) * X``. This holds with zero
    padding too, because ``M`` maps zero to zero. ``V W_R`` does not depend on the image and is computed once. Then
    ``V M = (V W_R) diag(z) W_t`` costs ``k^2 O R C`` multiply-adds at any resolution, where ``O`` are the output
    channels of ``V``.

    Args:
        block: the block, ``(N, C, H, W)`` to the same shape.
        conv: the convolution after it, ungrouped, with zero padding.

    Shape:
        ``(N, C, H, W)`` to that of ``conv``.
    """

    def __init__(self, block: SqueezeReasoning, conv: nn.Conv2d):
        super().__init__()
        self.block, self.conv = block, conv
        self.activation: nn.Module | None = None  # of a kind of `conv_act.ACTIVATIONS`, applied to the result
        with no_autocast(conv.weight.device.type):
            projected = torch.einsum("ocij,cr->oijr", conv.weight, parameter_of(block.project).flatten(1))
        self.register_buffer("projected", projected.detach().flatten(0, 2), persistent=False)  # (k^2 O, R)

    @property
    def fewest_pixels(self) -> int:
        """``k^2 O R / C`` pixels: above this, ``V M`` needs fewer multiply-adds than ``M X`` with ``C^2`` per pixel."""
        return self.projected.numel() // self.block.channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # On an H100 eight maps of 96x96 with a convolution each took longer than the block and one convolution for all.
        unfolded = x.shape[0] == 0 or (x.device.type != "cpu" and x.shape[0] > 1)
        if unfolded or x.shape[2] * x.shape[3] <= self.fewest_pixels:
            return convolve(self.conv, self.block(x), self.conv.weight, self.activation)
        images = [
            convolve(self.conv, image, own, self.activation) for image, own in zip(x.split(1), self.weights(x).unbind())
        ]
        return images[0] if len(images) == 1 else torch.cat(images)  # cat would copy a single image

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """``V + V M`` of each image of ``x``, ``(N, O, C, kh, kw)``, in its dtype."""
        weight, block = self.conv.weight, self.block
        trains = torch.is_grad_enabled() and any(each.requires_grad for each in (x, *self.parameters()))
        if not trains and block.is_one_operator(x, block.given_or(None)):
            transform, pair, *squares = block.weights("transform", "pair")
            return squeeze_reasoning_weights(x, transform, pair, self.projected, *squares, weight)
        with no_autocast(x.device.type):
            z = self.block.reason(x)
            projected, transform = self.projected.to(z.dtype), parameter_of(self.block.transform).flatten(1).to(z.dtype)
            change = (projected * z[:, None, :]) @ transform  # (N, k^2 O, C)
            # Rows are ordered as (output channel, k, k), see `projected`; as weights they are (N, O, C, k, k).
            change = change.unflatten(1, (weight.shape[0], *weight.shape[2:])).permute(0, 1, 4, 2, 3)
            return (weight + change).to(x.dtype)
