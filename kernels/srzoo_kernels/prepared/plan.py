"""Launches that are planned and compiled once and then repeated, which costs the host a fifth of planning them again.

A plan is a function of operands, options and a `Target` that allocates its outputs and its partial results with
``torch.empty`` and returns ``(launches, outputs)``. It is run once on tensors of the meta device, for every
combination of what it and Triton depend on: shapes, strides and dtypes, the device, TF32, and pointers divisible by 16.
What is kept is where each pointer of each kernel comes from: an operand, an output, or a place in the one workspace
that holds the partial results. A plan must not compute with its operands, nor copy them.

Nothing is kept that a call writes to: outputs and workspace are allocated by each call on the current stream, so calls
on several streams and in several threads do not meet, and a CUDA graph owns what it captured.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from .. import launch
from ..checks import check_same_device
from ..launch import Launch, Target, kernels_of, target_of

_KEPT = 8192  # plans; a network has some tens for each size of image, of which a data set has several hundred
_ALIGNMENT = 16  # bytes; Triton compiles another kernel for a pointer that is not divisible by it
_PART = 256  # bytes; a partial result begins at a multiple of them

_kept: dict[tuple, Prepared] = {}
_lock = threading.Lock()


def launched(
    plan: Callable,
    operands: tuple[torch.Tensor | None, ...],
    *options: object,
    laid_out: Callable[..., tuple] | None = None,
) -> tuple[torch.Tensor, ...]:
    """Run the launches of ``plan(*operands, *options, target)`` on the current stream, and return its outputs.

    Args:
        plan: as the module describes it.
        operands: on one device, the first of them a tensor.
        options: hashable.
        laid_out: of the operands, returns them with the strides that the plan asks for, copied where they have others.
            Called only where it copies.
    """
    x = operands[0]
    key = [plan, options, launch.multiplies_in_tf32(x)]
    for each in operands:
        key += (None,) if each is None else (each.shape, each.stride(), each.dtype, each.get_device())
    key = tuple(key)
    prepared = _kept.get(key)
    if prepared is None:
        prepared = _keep(key, Prepared(plan, operands, options, target_of(x), laid_out))
    if x.is_cuda and x.get_device() != torch.cuda.current_device():  # Triton launches on the current device
        with torch.cuda.device(x.device):
            return prepared(operands)
    return prepared(operands)


def forget() -> None:
    """Drop every kept plan."""
    with _lock:
        _kept.clear()


def _keep(key: tuple, prepared: Prepared) -> Prepared:
    with _lock:
        while len(_kept) >= _KEPT:
            del _kept[next(iter(_kept))]  # the oldest
        _kept[key] = prepared
    return prepared


@dataclass(frozen=True)
class _Pointer:
    """Where a tensor argument lies: ``shift`` bytes into the ``source``-th of operands, outputs and the workspace."""

    source: int
    shift: int
    twin: torch.Tensor  # on the meta device

    def tensor(self, sources: list[torch.Tensor | None]) -> torch.Tensor:
        """The argument, given the sources."""
        held, twin = sources[self.source], self.twin
        if self.source == len(sources) - 1:
            return held.view(twin.dtype).as_strided(twin.shape, twin.stride(), self.shift // twin.element_size())
        return held.as_strided(twin.shape, twin.stride(), held.storage_offset() + twin.storage_offset())


class Prepared:
    """The launches of one plan for operands of one kind; call it with the operands.

    The first call with aligned pointers goes through Triton's own launch and keeps the compiled kernels. In the
    interpreter, on AMD's GPUs, whose kernels also depend on the sizes of the buffers, and for pointers that are not
    aligned every call does.
    """

    def __init__(
        self,
        plan: Callable,
        operands: tuple[torch.Tensor | None, ...],
        options: tuple,
        target: Target,
        laid_out: Callable[..., tuple] | None = None,
    ):
        check_same_device(operands[0], **{f"operand {index}": each for index, each in enumerate(operands)})
        twins = [
            None if each is None else torch.empty_strided(each.shape, each.stride(), dtype=each.dtype, device="meta")
            for each in operands
        ]
        self._laid_out = None
        if laid_out is not None:
            others = laid_out(*twins)
            if any(each is not other for each, other in zip(twins, others, strict=True)):
                twins, self._laid_out = others, laid_out
        launches, outputs = plan(*twins, *options, target)
        self._outputs = [(tuple(each.shape), each.stride(), each.dtype) for each in outputs]
        storages = {
            _storage(each): index for index, each in enumerate([*twins, *outputs]) if each is not None
        }  # of what a call is given or returns
        workspace, parts = len(twins) + len(outputs), {}
        self._workspace = 0  # bytes

        def pointer(twin: torch.Tensor) -> _Pointer:
            storage = _storage(twin)
            if storage in storages:
                return _Pointer(storages[storage], twin.storage_offset() * twin.element_size(), twin)
            if storage not in parts:
                parts[storage] = self._workspace
                self._workspace += -(-twin.untyped_storage().nbytes() // _PART) * _PART
            return _Pointer(workspace, parts[storage] + twin.storage_offset() * twin.element_size(), twin)

        self._launches = [
            replace(
                each,
                arguments={
                    name: pointer(value) if isinstance(value, torch.Tensor) else value
                    for name, value in each.arguments.items()
                },
            )
            for each in launches
        ]
        self._can_be_kept = target.backend == "cuda" and not launch.interpreted()
        self._steps: list[_Step] | None = None
        self._is_watched: Callable[[], bool] | None = None

    def __call__(self, operands: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor, ...]:
        if self._laid_out is not None:
            operands = self._laid_out(*operands)
        x = operands[0]
        outputs = [x.new_empty_strided(size, stride, dtype=dtype) for size, stride, dtype in self._outputs]
        sources = [*operands, *outputs]
        if self._workspace:
            sources.append(x.new_empty(self._workspace, dtype=torch.uint8))
        pointers = [0 if each is None else each.data_ptr() for each in sources]
        bits = 0
        for each in pointers:
            bits |= each
        aligned = not bits % _ALIGNMENT
        steps = self._steps
        if steps is None or not aligned:
            self._launch_by_triton(sources if self._workspace else [*sources, None], aligned)
            return tuple(outputs)
        stream, watched = launch.current_stream(x), self._is_watched()
        for tell, run, arguments, places in steps:
            arguments = arguments.copy()
            for place, source, shift in places:
                arguments[place] = pointers[source] + shift
            (tell if watched else run)(stream, arguments)
        return tuple(outputs)

    def _launch_by_triton(self, sources: list[torch.Tensor | None], aligned: bool) -> None:
        """Run the launches, and keep the compiled kernels if the pointers are aligned."""
        steps = []
        for each in self._launches:
            tensors = {
                name: value.tensor(sources) if isinstance(value, _Pointer) else value
                for name, value in each.arguments.items()
            }
            compiled = replace(each, arguments=tensors)()
            if self._can_be_kept and aligned:
                steps.append(_step(each, compiled))
        if steps:
            self._is_watched, self._steps = kernels_of(__package__).is_watched, steps


# Two functions that launch a compiled kernel, its arguments, and the place, the source and the shift of each pointer.
_Step = tuple[Callable, Callable, list, list[tuple[int, int, int]]]


def _step(planned: Launch, compiled) -> _Step:
    """What repeats a launch that gave ``compiled``."""
    values = planned.arguments | planned.constants
    arguments = [values[name] for name in planned.kernel.arg_names]
    places = [(place, each.source, each.shift) for place, each in enumerate(arguments) if isinstance(each, _Pointer)]
    return *kernels_of(__package__).repeated(compiled, planned.grid), arguments, places


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
