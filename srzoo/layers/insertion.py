"""The block in somebody else's network, behind any of its modules."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import torch
from torch import nn

from ..messages import nearest
from . import SqueezeReasoning, build_context

CHILD = "context"  # the block's name in the module that it is put behind


def insert(
    model: nn.Module,
    name: str,
    block: str | Callable[..., nn.Module] = SqueezeReasoning,
    example: torch.Tensor | tuple[torch.Tensor, ...] | None = None,
    **options,
) -> nn.Module:
    """Put a block behind a module, in place: ``insert(torchvision.models.resnet50(), "layer4.2")``.

    No name in the model's state dict changes; the block's tensors come in as ``<name>.context.*``, in the device, dtype
    and mode of the model. A new `SqueezeReasoning` is the identity, so the model computes what it did until it is
    trained. To fill the model with a checkpoint from before, load that first, or with ``strict=False``.

    The channels are found by running a copy of the model on the meta device, which costs no memory and little time.

    Args:
        model: any module that maps a tensor or several, and is not scripted or compiled yet.
        name: of a module in it, as ``model.named_modules()`` has it, whose output is ``(N, C, H, W)``. Of an
            ``nn.Sequential`` it is the last.
        block: called with the channels; `SqueezeReasoning` or any other of `srzoo.layers`, or its name as
            ``create_model(..., context=...)`` takes it, such as "nl". What it gives must keep the shape.
        example: a tensor of an input's shape and dtype, or a tuple of them for a model of several; default
            1 x 3 x 224 x 224 in the model's dtype.
        **options: of the block, e.g. ``nodes=32``.

    Returns:
        The model itself.

    Raises:
        ValueError: not a model; no such module, one that a forward pass does not call exactly once, that has such a
            block or gives something else than ``(N, C, H, W)``; channels that the block cannot take, or another shape
            from it; a model that does not run on the example.
    """
    path = _last_of_sequential(model, name)
    module = model.get_submodule(path)
    if hasattr(module, CHILD):
        raise ValueError(f"{path!r} already has a child named {CHILD}; choose another module")
    if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        raise ValueError(f"{path!r} is a container that would run the block itself; choose a module in it")
    if isinstance(block, nn.Module) or not (callable(block) or isinstance(block, str)):
        raise ValueError(f"block must be a name, a class or a function of the channels, got {type(block).__name__}")
    shape = _shape_behind(model, path, example)
    try:
        new = build_context(block, shape[1], **options) if isinstance(block, str) else block(shape[1], **options)
        _check_shape_stays(new, shape)
    except (TypeError, ValueError) as error:  # a TypeError names an option that the block lacks
        raise ValueError(f"behind {path!r} there is {tuple(shape)}: {error}") from error
    like = _placed_like(module, model)
    _extend(module, new.to(like.device, like.dtype).train(module.training))
    return model


def _last_of_sequential(model: nn.Module, name: str) -> str:
    """Of an ``nn.Sequential`` the name of its last module, whose output is the same; of any other module its own.

    Raises:
        ValueError: not a model, or no such module; the message has the nearest name.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"expected a model, an nn.Module, got {model!r}")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):  # torch.compile's name for its inside
        raise ValueError("the model is scripted or compiled already; insert the block before that")
    names = dict(model.named_modules(remove_duplicate=False))  # a module may go by two names
    if name not in names:
        raise ValueError(f"{type(model).__name__} has no module {name!r}{nearest(name, names)}")
    module = names[name]
    while type(module).forward is nn.Sequential.forward and len(module):
        # Of _modules, as named_children passes over what came before, such as a shared ReLU.
        last, module = next(reversed(module._modules.items()))
        name = f"{name}.{last}" if name else last
    return name


class _Probe(nn.Module):
    """An identity that notes what passes."""

    def __init__(self):
        super().__init__()
        self.seen: list = []

    def forward(self, x):
        self.seen.append(x)
        return x


def _inputs(model: nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...] | None) -> tuple[torch.Tensor, ...]:
    if example is None:
        return (torch.empty(1, 3, 224, 224, dtype=_placed_like(model).dtype),)
    inputs = example if isinstance(example, tuple) else (example,)
    wrong = [type(each).__name__ for each in inputs if not isinstance(each, torch.Tensor)]
    if wrong or not inputs:
        raise ValueError(f"example must be a tensor such as the model takes, or a tuple of them, got {wrong or 'none'}")
    return inputs


def _shape_behind(model: nn.Module, path: str, example: torch.Tensor | tuple[torch.Tensor, ...] | None) -> torch.Size:
    """Shape of the module's output, ``(N, C, H, W)``, from one pass of a copy on the meta device."""
    inputs = _inputs(model, example)
    probe = _Probe()
    try:
        twin = on_meta(model).eval()
        _extend(twin.get_submodule(path), probe)
        with torch.device("meta"), torch.no_grad():
            twin(*(each.to("meta") for each in inputs))
    except Exception as error:  # the model's own code may raise anything
        # Behind the module it may do what depends on values, as a detector does, and a meta tensor has none.
        if not probe.seen:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            shapes = ", ".join(str(tuple(each.shape)) for each in inputs)
            raise ValueError(
                f"{type(model).__name__} does not run on an input of {shapes} on the meta device ({reason}); "
                "pass example= with what it takes"
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
    """Whether a map is ``(N, H, W, C)``: it has the proportions of its input, the last two axes of ``(N, C, H, W)``."""
    if len(size) < 2:
        return False
    height, width = size
    rounding = 0 if height == width else max(height, width)

    def fits(rows: int, columns: int) -> bool:
        return abs(rows * width - columns * height) <= rounding

    return fits(shape[1], shape[2]) and not fits(shape[2], shape[3])


def _check_shape_stays(block: nn.Module, shape: torch.Size) -> None:
    if not isinstance(block, nn.Module):
        raise ValueError(f"the block must be an nn.Module, got {type(block).__name__}")
    try:
        with torch.device("meta"), torch.no_grad():
            output = on_meta(block).eval()(torch.empty(shape, dtype=_placed_like(block).dtype))
    except Exception:  # somebody's own block may need values, which a meta tensor has none of
        return
    found = tuple(output.shape) if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
    if found != tuple(shape):
        raise ValueError(f"the block gives {found}; it must keep the shape")


def on_meta(model: nn.Module) -> nn.Module:
    """A copy without memory of its own: the structure is copied, each tensor becomes an empty one."""
    memo = {id(b): torch.empty_like(b, device="meta") for b in model.buffers()}
    for p in model.parameters():
        memo[id(p)] = nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False)
    return copy.deepcopy(model, memo)


def _placed_like(*modules: nn.Module) -> torch.Tensor:
    """The first floating parameter, for its device and dtype."""
    parameters = (p for module in modules for p in module.parameters() if p.is_floating_point())
    return next(parameters, torch.empty(0))


def _extend(module: nn.Module, block: nn.Module) -> None:
    """Make ``block`` a child of ``module``, through which its output goes.

    A class of its own does that, as in PyTorch's `parametrize` and `fully_shard`. A wrapper around the module would
    rename its parameters; a hook would not be seen by `torch.export`, nor be copied with the class.
    """
    module.add_module(CHILD, block)
    module.__class__ = _extended(type(module))


def has_block(module: nn.Module) -> bool:
    """Whether `insert` put a block behind this very module."""
    return isinstance(module, _Extended)


def block_names(model: nn.Module) -> list[str]:
    """Names of the blocks that `insert` put into a model, such as "layer4.2.context"."""
    return [f"{name}.{CHILD}".lstrip(".") for name, module in model.named_modules() if has_block(module)]


class _Extended:
    def forward(self, *args, **kwargs):
        return getattr(self, CHILD)(super().forward(*args, **kwargs))

    def __reduce__(self):
        return _rebuild, (type(self).__bases__[1],), self.__dict__


@functools.cache
def _extended(cls: type[nn.Module]) -> type[nn.Module]:
    return type(f"{cls.__name__}WithContext", (_Extended, cls), {})


def _rebuild(cls: type[nn.Module]) -> nn.Module:
    """An empty module of the extended class, which pickle could not find by its name."""
    extended = _extended(cls)
    return extended.__new__(extended)
