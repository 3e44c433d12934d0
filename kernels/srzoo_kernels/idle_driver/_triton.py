"""The GPU's path of every operator on CPU tensors: kernels are compiled for a target, and launches are recorded alone.

What an operator costs the host, and what it hands to its kernels, can be seen so without a GPU. Results hold whatever
the memory held.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from unittest import mock

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from .. import launch
from ..launch import H100, Target
from ..prepared.plan import forget

STREAM = 0
_RECORDED = 64


class Recorded(NamedTuple):
    """A launch: the kernel's name, its grid, and its arguments, constants included, as Triton's launcher gets them."""

    kernel: str
    grid: tuple[int, int, int]
    stream: int
    arguments: tuple[object, ...]


class IdleDriver:
    """What Triton asks of a driver. ``launches`` are the last ones, ``count`` is the number of all."""

    def __init__(self, target: Target):
        self.target = target
        self.launches: deque[Recorded] = deque(maxlen=_RECORDED)
        self.count = 0
        self.utils = self

    def get_current_device(self) -> str:
        """What Triton keeps compiled kernels by: no number, which a real GPU has, and another for each target."""
        return f"idle {self.target.arch}"

    def get_current_stream(self, device: str) -> int:
        return STREAM

    def get_current_target(self) -> GPUTarget:
        return GPUTarget(self.target.backend, self.target.arch, self.target.warp_size)

    def get_device_properties(self, device: str) -> dict[str, int]:
        return {"max_shared_mem": 227 * 1024, "multiprocessor_count": self.target.processors}

    def load_binary(self, *binary: object) -> tuple[int, int, int, int, int]:
        """The module, the function, registers, spills and the most threads of a program."""
        return 1, 2, 100, 0, 1024

    def unload_module(self, module: int) -> None:
        pass

    @staticmethod
    def launcher_cls(source, metadata):
        name = source.fn.__name__

        def launcher(x, y, z, stream, function, packed, launch_metadata, enter_hook, exit_hook, *arguments):
            if enter_hook is not None:
                enter_hook(launch_metadata)
            idle = driver.active  # a kernel outlives the driver that it was compiled for
            idle.count += 1
            idle.launches.append(Recorded(name, (x, y, z), stream, arguments))

        return launcher


def _is_on_cpu(x: torch.Tensor) -> bool:
    return x.device.type == "cpu"


def _stream(x: torch.Tensor) -> int:
    return STREAM


def _same(target: Target, device: torch.device) -> Target:
    return target


@contextmanager
def idle_driver(target: Target = H100) -> Iterator[IdleDriver]:
    """Context manager in which CPU tensors are taken to lie on ``target``, whose launches are recorded.

    For one thread, and outside the interpreter.
    """
    idle, before = IdleDriver(target), driver._active
    driver.set_active(idle)
    forget()
    try:
        with (
            mock.patch.object(launch, "is_on_gpu", _is_on_cpu),
            mock.patch.object(launch, "current_stream", _stream),
            mock.patch.object(launch, "_target", partial(_same, target)),
        ):
            yield idle
    finally:
        forget()
        driver.set_active(before)


def pointer(argument: object) -> object:
    """An argument as a kernel sees it: the address of a tensor, anything else itself."""
    return argument.data_ptr() if isinstance(argument, torch.Tensor) else argument
