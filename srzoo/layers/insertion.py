"""Insert the block into an existing network, after any of its modules."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import torch
from torch import fx, nn

from ..messages import nearest, no_option, one_line, shortened, visible
from . import CONTEXT_MODULES, SqueezeReasoning, build_context
from .leaf import NotScriptable, as_leaf
from .meta import check_shape_stays, on_meta, placed_like

CHILD = "context"  # the name of the block as a child of the module that it follows


def insert(
    model: nn.Module,
    name: str,
    block: str | Callable[..., nn.Module] = SqueezeReasoning,
    example: torch.Tensor | tuple[torch.Tensor, ...] | None = None,
    **options,
) -> nn.Module:
    """Insert a block after a module, in place: ``insert(torchvision.models.resnet50(), "layer4.2")``.

    The existing names in the state dict do not change. The block's tensors are added as ``<name>.context.*``, with the
    device, dtype and mode of the model. A new `SqueezeReasoning` is the identity, so the output of the model does not
    change until it is trained. Load an earlier checkpoint before inserting the block, or with ``strict=False``.

    The number of channels is found by running a copy of the model on the meta device, which takes no memory and little
    time.

    Args:
        model: any module that takes one or more tensors. It must not be scripted or compiled yet.
        name: of a module in it, as in ``model.named_modules()``, whose output is ``(N, C, H, W)``. The name of an
            ``nn.Sequential`` stands for its last module.
        block: `SqueezeReasoning`, another class of `srzoo.layers`, a function that takes the number of channels and
            returns a module, or a name that ``create_model(..., context=...)`` takes, such as "nl". The module must
            keep the shape. One of your own that ends in a ReLU, whose backward needs the output, has an attribute
            ``KEEPS_OUTPUT = True`` if the network changes the output in place.
        example: a tensor with the shape and dtype of the model's input, or a tuple of tensors for a model with several
            inputs; default ``(1, 3, 224, 224)`` in the model's dtype.
        **options: of the block, e.g. ``nodes=32``.

    Returns:
        The model itself.

    Raises:
        ValueError: ``model`` is not a module, or does not run on the example; there is no such module, a forward pass
            does not call it exactly once, it has a block already, or its output is not ``(N, C, H, W)``; the block is
            invalid for this number of channels, or changes the shape.
    """
    path = last_of_sequential(model, name)
    module = model.get_submodule(path)
    if hasattr(module, CHILD):
        raise ValueError(f"{path!r} already has a child named {CHILD}; choose another module")
    if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        raise ValueError(f"{path!r} is a container that would run the block itself; choose a module in it")
    if isinstance(block, nn.Module) or not (callable(block) or isinstance(block, str)):
        raise ValueError(f"block must be a name, a class or a function of the channels, got {type(block).__name__}")
    shape = _shape_behind(model, path, example)
    try:
        _check_options(CONTEXT_MODULES.get(block) if isinstance(block, str) else block, options)
        new = build_context(block, shape[1], **options) if isinstance(block, str) else block(shape[1], **options)
        check_shape_stays(new, shape)
    except (TypeError, ValueError) as error:  # a TypeError of a block that does not take the number of channels
        raise ValueError(f"cannot insert the block after {path!r}, which gives {tuple(shape)}: {error}") from error
    like = placed_like(module, model)
    _extend(module, new.to(like.device, like.dtype).train(module.training))
    return model


def _check_options(block: Callable[..., nn.Module] | None, options: dict) -> None:
    """Check that the block takes the options by name.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(block, type):  # PyTorch's words tell what a function does not take; None takes no options
        return
    parameters = list(inspect.signature(block).parameters.values())[1:]  # after the number of channels
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    names = [each.name for each in parameters]
    if unknown := [name for name in options if name not in names]:
        raise ValueError(no_option(block.__name__, unknown[0], names))


def last_of_sequential(model: nn.Module, name: str) -> str:
    """The name of the last module of an ``nn.Sequential``, which has the same output; else the name itself.

    Raises:
        ValueError: ``model`` is not a module, is scripted or compiled, or has no module of this name; the message
            suggests the nearest name.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"expected a model, an nn.Module, got {shortened(model)}")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):  # torch.compile's attribute
        raise ValueError("the model is scripted or compiled already; insert the block before that")
    names = dict(model.named_modules(remove_duplicate=False))  # a module may have two names
    if name not in names:
        raise ValueError(f"{type(model).__name__} has no module {shortened(name)}{nearest(name, names)}")
    module = names[name]
    while type(module).forward is nn.Sequential.forward and len(module):
        # _modules, because named_children skips a module that it has listed before, such as a shared ReLU.
        last, module = next(reversed(module._modules.items()))
        name = f"{name}.{last}" if name else last
    return name


class _Probe(nn.Module):
    """An identity that records its inputs."""

    def __init__(self):
        super().__init__()
        self.seen: list = []

    def forward(self, x):
        self.seen.append(x)
        return x


def _inputs(model: nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...] | None) -> tuple[torch.Tensor, ...]:
    if example is None:
        return (torch.empty(1, 3, 224, 224, dtype=placed_like(model).dtype),)
    inputs = example if isinstance(example, tuple) else (example,)
    wrong = [type(each).__name__ for each in inputs if not isinstance(each, torch.Tensor)]
    if wrong or not inputs:
        raise ValueError(f"example must be a tensor or a tuple of tensors, as the model takes, got {wrong or 'none'}")
    return inputs


def _shape_behind(model: nn.Module, path: str, example: torch.Tensor | tuple[torch.Tensor, ...] | None) -> torch.Size:
    """Shape of the module's output, ``(N, C, H, W)``, from one pass of a copy on the meta device.

    Raises:
        ValueError: the copy does not run, does not call the module exactly once, or the output has another shape.
    """
    inputs = _inputs(model, example)
    probe = _Probe()
    try:
        twin = on_meta(model).eval()
        _extend(twin.get_submodule(path), probe)
        with torch.device("meta"), torch.no_grad():
            twin(*(each.to("meta") for each in inputs))
    except Exception as error:  # the model's own code may raise anything
        # After the module, the code may depend on values, which a meta tensor does not have, as in a detector. Then the
        # module's output has been recorded already.
        if not probe.seen:
            reason = visible(one_line(error), 150)
            shapes = ", ".join(str(tuple(each.shape)) for each in inputs)
            raise ValueError(
                f"{type(model).__name__} does not run on an input of {shapes} on the meta device ({reason}); "
                "pass an input that it takes as example="
            ) from error
    if len(probe.seen) != 1:
        times = f"{len(probe.seen)} times" if probe.seen else "never"
        raise ValueError(f"a forward pass calls {path!r} {times}; choose a module that it calls once")
    output = probe.seen[0]
    if not isinstance(output, torch.Tensor):
        raise ValueError(f"{path!r} gives a {type(output).__name__}; choose a module that gives a tensor")
    shape = output.shape
    is_last = len(shape) == 4 and _is_channels_last(shape, inputs[0].shape[-2:])
    if len(shape) != 4 or is_last:
        raise ValueError(
            f"{path!r} gives {tuple(shape)}{', channels last' if is_last else ''}; "
            "the block takes (N, C, H, W), choose a module that gives that"
        )
    return shape


def _is_channels_last(shape: torch.Size, size: torch.Size) -> bool:
    """Whether a map is ``(N, H, W, C)``, judged by the proportions of the image.

    Args:
        shape: of the map, four numbers.
        size: ``(H, W)`` of the model's input.

    For an image of 224x256, ``(1, 7, 8, 768)`` is channels last: its axes 1 and 2 are 7:8 as the image, and its axes 2
    and 3 are 8:768. In ``(1, 768, 7, 8)`` the axes 2 and 3 are those of the image.
    """
    if len(size) < 2:
        return False
    height, width = size
    # Equal proportions: rows / columns = height / width. A stride rounds a side by less than one row or column, which
    # changes the difference below by less than the longer side; in a square image both sides round alike.
    rounding = 0 if height == width else max(height, width)

    def fits(rows: int, columns: int) -> bool:
        return abs(rows * width - columns * height) <= rounding

    return fits(shape[1], shape[2]) and not fits(shape[2], shape[3])


def _extend(module: nn.Module, block: nn.Module) -> None:
    """Make ``block`` a child of ``module`` and apply it to the module's output.

    The module gets a new class, as PyTorch's `parametrize` and `fully_shard` do. A wrapper around the module would
    rename its parameters. A hook would be invisible to `torch.export`, and would not be copied with the class.
    """
    module.add_module(CHILD, block)
    module.__class__ = _extended(type(module))


def has_block(module: nn.Module) -> bool:
    """Whether `insert` put a block after this module itself, not one of its children."""
    return isinstance(module, _Extended)


def remove(module: nn.Module) -> nn.Module:
    """Undo what `insert` did to this module, in place, and return the block.

    Raises:
        ValueError: the module has no block.
    """
    if not has_block(module):
        raise ValueError(f"{type(module).__name__} has no block from insert")
    block = getattr(module, CHILD)
    delattr(module, CHILD)
    module.__class__ = type(module).__bases__[1]
    return block


def block_names(model: nn.Module) -> list[str]:
    """Names of the blocks that `insert` put into a model, e.g. "layer4.2.context"."""
    return [f"{name}.{CHILD}".lstrip(".") for name, module in model.named_modules() if has_block(module)]


class _Extended(NotScriptable):
    """Applies the child block to the output of the class that it is mixed into."""

    def forward(self, *args, **kwargs):
        block = getattr(self, CHILD)
        output = super().forward(*args, **kwargs)
        output = as_leaf(block, output) if isinstance(output, fx.Proxy) else block(output)
        # The network may go on with an operation in place, such as a ReLU.
        is_kept = getattr(block, "KEEPS_OUTPUT", False) and torch.is_grad_enabled()
        return output.clone() if is_kept else output

    def __reduce__(self):
        return _rebuild, (type(self).__bases__[1],), self.__dict__


@functools.cache
def _extended(cls: type[nn.Module]) -> type[nn.Module]:
    return type(f"{cls.__name__}WithContext", (_Extended, cls), {})


def _rebuild(cls: type[nn.Module]) -> nn.Module:
    """An empty module of the extended class. Pickle cannot find this class by name, as it is made at run time."""
    extended = _extended(cls)
    return extended.__new__(extended)
