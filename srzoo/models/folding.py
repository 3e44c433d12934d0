"""`fuse` for inference: fold BatchNorms into convolutions, and Squeeze Reasoning into the convolution after it."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from itertools import pairwise

import torch
from timm.layers import Conv2dSame
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..backbones import FeatureBackbone
from ..backbones.pyramid import PyramidBackbone
from ..backbones.same_padding import SamePaddedConv2d
from ..layers import SqueezeReasoning
from ..layers.context_head import ContextHead
from ..layers.insertion import CHILD, block_names, has_block, last_of_sequential, remove
from ..messages import one_line
from .activations import sole_calls, wrap_sequences, wrap_traced
from .base import check_dtype, check_zoo_model
from .conv_act import ConvAct
from .folded_block import FoldedBlock

_log = logging.getLogger("srzoo")

# Other subclasses may compute more than a convolution, e.g. standardize their weights in every call.
_CONVS = (nn.Conv2d, Conv2dSame, SamePaddedConv2d)


def fuse(model: nn.Module, blocks: bool = True, dtype: torch.dtype | None = None) -> nn.Module:
    """Return a copy of a model for inference, in evaluation mode, with the same output and fewer passes over memory.

    Every BatchNorm that directly follows a convolution, in an ``nn.Sequential`` or anywhere in a backbone, is folded
    into the convolution, unless the network reads the parameters of either itself. `SqueezeReasoning` before the
    convolution of a head, or behind the last stage of a detector, is folded into the weights of the convolution after
    it, per image, at resolutions where this is cheaper; the logger "srzoo" says at level INFO which are not, and why. A
    backbone that torch.fx cannot trace keeps its BatchNorms, and the logger warns about it. On a GPU with Triton a
    convolution adds its bias, and the shortcut of a ResNet's block, and applies ReLU or ReLU6 before it writes
    (`srzoo_kernels.conv2d_act`).

    Args:
        model: from `create_model` or `load_model`. It is not changed. Save this model, not the copy.
        blocks: fold Squeeze Reasoning too. Without it, the copy can be exported for batches of any size.
        dtype: of the copy's weights, for images of the same, such as ``torch.float16``; default that of the model. What
            is folded is folded before, or after if it is wider.

    Returns:
        The fused copy. Its logits differ by float32 rounding, below 1e-4, if ``dtype`` is not given. To change weights,
        change those of the model and fuse it again: the copy keeps some in a second layout.

    Raises:
        ValueError: the model is not one of srzoo's, or ``dtype`` is none for weights.
    """
    check_dtype(dtype)
    check_zoo_model(model, "fuse", configured=False)
    model = copy.deepcopy(model).eval()
    widened = dtype is not None and dtype.itemsize > min(each.dtype.itemsize for each in model.parameters())
    model = _folded(model.to(dtype) if widened else model, blocks)
    return model if dtype is None else model.to(dtype)


def _folded(model: nn.Module, blocks: bool) -> nn.Module:
    """The model, changed in place."""
    backbones = {name: part for name, part in model.named_modules() if isinstance(part, FeatureBackbone)}
    for name, backbone in backbones.items():
        _fold_backbone(backbone.body, name)
    # Sequences in the body of a backbone are skipped: their intermediate outputs may be used elsewhere. The trace above
    # covers them.
    traced = {id(part) for backbone in backbones.values() for part in backbone.body.modules()}
    for part in list(model.modules()):
        if type(part).forward is nn.Sequential.forward and id(part) not in traced:
            for (conv, _), (norm, _) in pairwise(part._modules.items()):  # named_children skips shared modules
                _fold_norm(part, conv, norm)
    if blocks:
        for part in list(model.modules()):
            if isinstance(part, ContextHead):
                _fold_block(part)
            elif isinstance(part, PyramidBackbone):
                _fold_into_lateral(part)
        for name, reason in _unfolded(model):
            _log.info("fuse: Squeeze Reasoning in %s is not folded: %s", name, reason)
    for backbone in backbones.values():
        wrap_traced(backbone.body, _LayerTracer(block_names(backbone.body)))
    wrap_sequences(model, traced)
    return model


class _LayerTracer(fx.Tracer):
    """Does not trace into convolutions and norms, including timm's subclasses, nor into blocks from `insert`.

    Nor into what an earlier `fuse` has made of them.
    """

    def __init__(self, blocks: list[str]):
        super().__init__()
        self._blocks = blocks

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        is_layer = isinstance(module, (nn.Conv2d, nn.BatchNorm2d, ConvAct)) or name in self._blocks
        return is_layer or super().is_leaf_module(module, name)


def _fold_backbone(body: nn.Module, name: str) -> None:
    """Fold every BatchNorm that is the only consumer of a convolution, in place; module names do not change.

    Both are left alone unless the trace has `sole_calls` of them.
    """
    if not any(isinstance(part, nn.BatchNorm2d) for part in body.modules()):
        return
    try:
        graph = _LayerTracer(block_names(body)).trace(body)
    except Exception as error:  # tracing runs the model's code, and some of timm's branches on values
        _log.warning(
            "fuse: %s keeps its BatchNorms, because torch.fx cannot trace it (%s); results are the same, but slower",
            name,
            one_line(error),
        )
        return
    called = sole_calls(body, graph)
    for node in called:
        sources = [each for each in node.all_input_nodes if each.op == "call_module" and len(each.users) == 1]
        if len(sources) == 1 and sources[0] in called:
            _fold_norm(body, sources[0].target, node.target)


def _fold_norm(model: nn.Module, conv_name: str, norm_name: str) -> None:
    """Fold a BatchNorm into the convolution before it, if the two modules are these.

    Neither may have a block from `insert`, which also makes another type of the convolution. A block after the
    convolution separates it from the norm, and a block after the norm would be removed with it.
    """
    conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
    if type(conv) not in _CONVS or not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return
    if not has_block(norm):
        model.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
        # timm's norms contain their activation.
        model.set_submodule(norm_name, norm.act if hasattr(norm, "act") else nn.Identity())


def _fold_block(head: ContextHead) -> None:
    """Fold Squeeze Reasoning into the convolution after it, unless something is in the way."""
    if isinstance(head.context, SqueezeReasoning) and not _obstacle(head):
        head.fuse.conv, head.context = FoldedBlock(head.context, head.fuse.conv), nn.Identity()


def _obstacle(head: ContextHead) -> str:
    """Why a head's Squeeze Reasoning cannot be folded into the convolution after it; empty if it can."""
    conv = getattr(head.fuse, "conv", None)
    if not isinstance(conv, nn.Conv2d):
        return "no convolution follows it"
    if conv.groups != 1:
        return f"the convolution after it has {conv.groups} groups"
    if isinstance(conv.padding, str):
        return f"the convolution after it has padding {conv.padding!r}"
    if conv.padding_mode != "zeros":
        return f"the convolution after it has padding mode {conv.padding_mode!r}"
    return "another block follows it or the convolution after it" if has_block(head.context) or has_block(conv) else ""


def _fold_into_lateral(backbone: PyramidBackbone) -> None:
    """Fold Squeeze Reasoning behind the last stage into the pyramid's 1x1 lateral, which alone reads that stage."""
    if backbone.last_module is None:
        return
    last = backbone.body.get_submodule(last_of_sequential(backbone.body, backbone.last_module))
    block, lateral = getattr(last, CHILD) if has_block(last) else None, backbone.fpn.inner_blocks[-1]
    if isinstance(block, SqueezeReasoning) and not (has_block(block) or has_block(lateral[0])):
        lateral[0] = FoldedBlock(remove(last), lateral[0])


def _unfolded(model: nn.Module) -> Iterator[tuple[str, str]]:
    """The name of each Squeeze Reasoning that is not folded, and why."""
    folded = {id(part.block) for part in model.modules() if isinstance(part, FoldedBlock)}
    heads = {id(part.context): part for part in model.modules() if isinstance(part, ContextHead)}
    for name, part in model.named_modules():
        if isinstance(part, SqueezeReasoning) and id(part) not in folded:
            head = heads.get(id(part))
            elsewhere = "it is neither in a head nor directly before the last lateral of a feature pyramid"
            yield name, elsewhere if head is None else _obstacle(head)
