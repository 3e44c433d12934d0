"""Finds the convolutions of a model that are followed by an activation, and puts `ConvAct` in their place."""

from __future__ import annotations

from collections import Counter

from timm.layers import DropPath
from timm.models.resnet import BasicBlock, Bottleneck
from torch import fx, nn

from ..backbones.same_padding import SamePaddedConv2d
from ..layers.insertion import block_names, has_block
from .conv_act import ACTIVATIONS, ConvAct, ResidualBlock
from .folded_block import FoldedBlock

_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d, DropPath)  # in evaluation mode


def can_be_wrapped(conv: nn.Module) -> bool:
    """Whether this is a convolution that `ConvAct` knows, with a bias, which is where a pass over memory is saved."""
    known = type(conv) in (nn.Conv2d, SamePaddedConv2d) and conv.bias is not None and not _is_watched(conv)
    return known and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _is_watched(module: nn.Module) -> bool:
    """Whether something else than the module itself runs where it is called: hooks, or a block from `insert`."""
    return bool(module._forward_hooks or module._forward_pre_hooks) or has_block(module)


def wrap_traced(body: nn.Module, tracer: fx.Tracer) -> None:
    """Give every convolution of a backbone the ReLU that alone reads it, in place; then the shortcuts of a ResNet.

    What stood for the activation becomes an identity. All are left alone unless the trace has `sole_calls` of them.
    """
    try:
        graph = tracer.trace(body)
    except Exception:  # what `_fold_backbone` warns of; the results are the same without
        return
    called = sole_calls(body, graph)
    for node in called:
        conv = body.get_submodule(node.target)
        if can_be_wrapped(conv):
            body.set_submodule(node.target, ConvAct(conv, _take_activation(body, node, called)))
    for name, block in list(body.named_modules()):
        if type(block) in (BasicBlock, Bottleneck):
            residual = _residual_block(block)
            if residual is not None:
                body.set_submodule(name, residual)


def sole_calls(body: nn.Module, graph: fx.Graph) -> dict[fx.Node, None]:
    """The calls, in order, of modules that nothing but this call reads, so that others may take their place.

    A module that is called twice would change in the other call too; one of two names would be replaced under one of
    them; and where the network reads a parameter of a module itself, it expects that of the original.
    """
    times = Counter(node.target for node in graph.nodes if node.op == "call_module")
    names = Counter(id(module) for _, module in body.named_modules(remove_duplicate=False))
    read = {node.target.rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    return {
        node: None
        for node in graph.nodes
        if node.op == "call_module"
        and times[node.target] == names[id(body.get_submodule(node.target))] == 1
        and node.target not in read
    }


def _take_activation(body: nn.Module, node: fx.Node, called: dict[fx.Node, None]) -> nn.Module | None:
    """The activation that alone reads a node, through identities; an identity takes its place."""
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node not in called:
            return None
        module = body.get_submodule(node.target)
        if _is_watched(module) or (type(module) not in ACTIVATIONS and not isinstance(module, _NOTHING)):
            return None
        if type(module) in ACTIVATIONS:
            body.set_submodule(node.target, nn.Identity())
            return module
    return None


def _residual_block(block: BasicBlock | Bottleneck) -> ResidualBlock | None:
    """A block of plain convolutions with ReLU as a `ResidualBlock`, or None for any other."""
    names = ("conv1", "conv2", "conv3") if isinstance(block, Bottleneck) else ("conv1", "conv2")
    convs = [getattr(block, name) for name in names]
    last_act = getattr(block, f"act{len(names)}")
    between = [getattr(block, f"bn{i + 1}") for i in range(len(names))]
    between += [getattr(block, f"act{i + 1}") for i in range(len(names) - 1)]
    between += [each for each in (block.drop_block, block.aa, block.se, block.drop_path) if each is not None]
    relus = all(isinstance(each, ConvAct) and type(each.activation) is nn.ReLU for each in convs[:-1])
    last = convs[-1]
    plain = relus and isinstance(last, ConvAct) and last.activation is None and type(last_act) is nn.ReLU
    if not plain or block_names(block) or not all(isinstance(each, _NOTHING) for each in between):
        return None
    if any(map(_is_watched, (block, last_act, *convs, *between))):
        return None
    return ResidualBlock(nn.Sequential(*convs[:-1]), ConvAct(last.conv, last_act), block.downsample)


def wrap_sequences(model: nn.Module, traced: set[int]) -> None:
    """The same for every ``nn.Sequential`` outside of the backbones, in place.

    Args:
        model: to change.
        traced: ids of the modules of the backbones.
    """
    for part in list(model.modules()):
        if type(part).forward is not nn.Sequential.forward or id(part) in traced:
            continue
        conv = None  # the last one, as long as nothing follows it
        for name, module in list(part._modules.items()):
            if can_be_wrapped(module):
                conv = part._modules[name] = ConvAct(module)
            elif isinstance(module, FoldedBlock):
                conv = module
            elif type(module) in ACTIVATIONS:
                if conv is not None and not _is_watched(module):
                    conv.activation, part._modules[name] = module, nn.Identity()
                conv = None
            elif not isinstance(module, _NOTHING) or _is_watched(module):
                conv = None
