"""Folding for inference: BatchNorms into convolutions, and the block into the convolution that follows it."""

from __future__ import annotations

import copy

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..layers import SqueezeReasoning
from ..layers.autocast import autocast_off
from ..layers.insertion import has_block
from .base import ZooModel


def fuse(model: nn.Module) -> nn.Module:
    """An equal model for inference: a copy in evaluation mode with fewer passes over the feature maps.

    Every BatchNorm that directly follows a convolution goes into its weights, and `SqueezeReasoning` before a plain
    convolution becomes a change of that convolution's weights, per image, where the resolution makes it cheaper.

    Args:
        model: made by `create_model` or `load_model`; stays as it is, and is the one to save.

    Returns:
        The folded copy; its logits differ by float32 rounding (below 1e-4).

    Raises:
        ValueError: another model.
    """
    if not isinstance(model, ZooModel):
        raise ValueError(f"fuse takes what create_model and load_model make, got {type(model).__name__}")
    model = copy.deepcopy(model).eval()
    _fold_batch_norms(model.backbone.body)
    for part in model.modules():
        if isinstance(part, nn.Sequential) and isinstance(getattr(part, "bn", None), nn.BatchNorm2d):
            _fold_batch_norms(part)
    head = model.head
    if isinstance(getattr(head, "context", None), SqueezeReasoning) and not (
        has_block(head.context) or has_block(head.fuse.conv)
    ):
        head.fuse.conv = FoldedBlock(head.context, head.fuse.conv)
        head.context = nn.Identity()
    return model


class _LayerTracer(fx.Tracer):
    """Sees convolutions and norms whole, timm's own kinds too."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) or super().is_leaf_module(module, name)


def _fold_batch_norms(module: nn.Module) -> None:
    """Fold in place, wherever a BatchNorm is the only reader of a convolution; the tree keeps its shape.

    Neither may have a block behind it: one would lose its block, the other is not followed by the norm.
    """
    try:
        graph = _LayerTracer().trace(module)
    except Exception:  # tracing runs the model's own code, and some of timm's branches on values
        return
    layers = dict(module.named_modules())
    for node in graph.nodes:
        norm = layers.get(node.target) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or has_block(norm):
            continue
        source = node.args[0]
        conv = layers.get(source.target) if source.op == "call_module" else None
        if isinstance(conv, nn.Conv2d) and len(source.users) == 1 and not has_block(conv):
            module.set_submodule(source.target, fuse_conv_bn_eval(conv, norm))
            # timm's norms carry their activation.
            module.set_submodule(node.target, norm.act if hasattr(norm, "act") else nn.Identity())


class FoldedBlock(nn.Module):
    """``conv(block(x))`` for a k x k convolution ``V``, where cheaper as one with the weights ``V + V M`` of the image.

    ``V * (X + M X) = (V + V M) * X`` holds under zero padding, since ``M X`` of a zero is zero. With ``V W_R``
    computed once, ``V M = (V W_R) diag(z) W_t`` costs ``k^2 O R C`` multiply-adds whatever the resolution.
    """

    def __init__(self, block: SqueezeReasoning, conv: nn.Conv2d):
        super().__init__()
        self.block, self.conv = block, conv
        projected = torch.einsum("ocij,cr->oijr", conv.weight, block.project.weight.flatten(1))
        self.register_buffer("projected", projected.detach().flatten(0, 2), persistent=False)  # (k^2 O, R)

    @property
    def fewest_pixels(self) -> int:
        """From this resolution on folding needs fewer multiply-adds than ``M X`` itself, ``C^2`` a pixel."""
        return self.projected.numel() // self.block.channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] * x.shape[3] <= self.fewest_pixels:
            return self.conv(self.block(x))
        weight, conv = self.conv.weight, self.conv
        with autocast_off(x.device.type):
            z = self.block.reasoning(self.block.squeeze_vector(x))
            change = (self.projected * z[:, None, :]) @ self.block.transform.weight.flatten(1)  # (N, k^2 O, C)
            change = change.unflatten(1, (weight.shape[0], *weight.shape[2:])).permute(0, 1, 4, 2, 3)
            weights = (weight + change).to(x.dtype)
        bias = None if conv.bias is None else conv.bias.to(x.dtype)
        images = [
            F.conv2d(image, own, bias, conv.stride, conv.padding) for image, own in zip(x.split(1), weights.unbind())
        ]
        return images[0] if len(images) == 1 else torch.cat(images)  # which would copy a single one
