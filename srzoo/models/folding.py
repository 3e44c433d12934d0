"""Folding for inference: BatchNorms into convolutions, and the block into the convolution that follows it."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from itertools import pairwise

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from srzoo_kernels.autocast import no_autocast

from ..backbones import FeatureBackbone
from ..layers import SqueezeReasoning
from ..layers.context_head import ContextHead
from ..layers.insertion import block_names, has_block
from ..messages import one_line
from .base import check_zoo_model

_log = logging.getLogger("srzoo")


def fuse(model: nn.Module) -> nn.Module:
    """An equal model for inference: a copy in evaluation mode with fewer passes over the feature maps.

    Every BatchNorm that directly follows a convolution, in an ``nn.Sequential`` or anywhere in a backbone, goes into
    its weights. `SqueezeReasoning` before a head's plain convolution becomes a change of that convolution's weights,
    per image, where the resolution makes it cheaper. A backbone that cannot be traced keeps its BatchNorms; the logger
    "srzoo" warns of it.

    Args:
        model: made by `create_model` or `load_model`; it is not changed, and is the one to save.

    Returns:
        The folded copy; its logits differ by float32 rounding (below 1e-4).

    Raises:
        ValueError: another model.
    """
    check_zoo_model(model, "fuse", configured=False)
    model = copy.deepcopy(model).eval()
    backbones = {name: part for name, part in model.named_modules() if isinstance(part, FeatureBackbone)}
    for name, backbone in backbones.items():
        _fold_backbone(backbone.body, name)
    # A backbone may give what is inside of its sequences to others too.
    traced = {id(part) for backbone in backbones.values() for part in backbone.modules()}
    for part in list(model.modules()):
        if type(part).forward is nn.Sequential.forward and id(part) not in traced:
            for (conv, _), (norm, _) in pairwise(part._modules.items()):  # named_children leaves a shared one out
                _fold_norm(part, conv, norm)
    for part in list(model.modules()):
        if isinstance(part, ContextHead):
            _fold_block(part)
    return model


class _LayerTracer(fx.Tracer):
    """Sees convolutions and norms whole, timm's own kinds too, and the blocks that `insert` put in."""

    def __init__(self, blocks: list[str]):
        super().__init__()
        self._blocks = blocks

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        is_layer = isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) or name in self._blocks
        return is_layer or super().is_leaf_module(module, name)


def _fold_backbone(body: nn.Module, name: str) -> None:
    """Fold in place, wherever a BatchNorm is the only reader of a convolution; the tree keeps its shape."""
    if not any(isinstance(part, nn.BatchNorm2d) for part in body.modules()):
        return
    try:
        graph = _LayerTracer(block_names(body)).trace(body)
    except Exception as error:  # tracing runs the model's own code, and some of timm's branches on values
        _log.warning(
            "fuse: %s keeps its BatchNorms, as torch.fx cannot trace it (%s); results are the same, but slower",
            name,
            one_line(error),
        )
        return
    called = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(node.target for node in called)
    for node in called:
        sources = [each for each in node.all_input_nodes if each.op == "call_module" and len(each.users) == 1]
        if len(sources) == 1 and times[sources[0].target] == times[node.target] == 1:
            _fold_norm(body, sources[0].target, node.target)


def _fold_norm(model: nn.Module, conv_name: str, norm_name: str) -> None:
    """Put a BatchNorm into the convolution before it, if the two are that.

    Neither may have a block behind it: one would lose its block, the other is not followed by the norm.
    """
    conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return
    if not (has_block(conv) or has_block(norm)):
        model.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
        # timm's norms carry their activation.
        model.set_submodule(norm_name, norm.act if hasattr(norm, "act") else nn.Identity())


def _fold_block(head: ContextHead) -> None:
    """Put Squeeze Reasoning into the convolution behind it, unless `insert` put a block behind either."""
    conv = getattr(head.fuse, "conv", None)
    is_plain = isinstance(conv, nn.Conv2d) and conv.groups == 1 and conv.padding_mode == "zeros"
    if is_plain and isinstance(head.context, SqueezeReasoning) and not (has_block(head.context) or has_block(conv)):
        head.fuse.conv, head.context = FoldedBlock(head.context, conv), nn.Identity()


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
        with no_autocast(x.device.type):
            z = self.block.reasoning(self.block.squeeze_vector(x))
            change = (self.projected * z[:, None, :]) @ self.block.transform.weight.flatten(1)  # (N, k^2 O, C)
            change = change.unflatten(1, (weight.shape[0], *weight.shape[2:])).permute(0, 1, 4, 2, 3)
            weights = (weight + change).to(x.dtype)
        bias = None if conv.bias is None else conv.bias.to(x.dtype)
        images = [
            F.conv2d(image, own, bias, conv.stride, conv.padding, conv.dilation)
            for image, own in zip(x.split(1), weights.unbind())
        ]
        return images[0] if len(images) == 1 else torch.cat(images)  # which would copy a single one
