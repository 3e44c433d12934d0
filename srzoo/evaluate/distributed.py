"""Processes that ``torchrun`` or ``accelerate launch`` started. Imports torch only where they have to talk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def rank() -> int:
    """This process's number, as its launcher set it; 0 without one."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """Number of processes."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main_process() -> bool:
    """Whether this is the process, of those that were started, that prints and writes."""
    return rank() == 0


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the other processes, if there are any; each on a GPU of its own where there are GPUs and they are wanted.

    Args:
        device: what was given as ``--device``.
    """
    if world() == 1:
        yield
        return
    import torch
    from torch import distributed

    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if not on_cpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("gloo" if on_cpu else None)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def gather(value: T) -> list[T]:
    """The value of every process, in order of rank, in every process, which all have to call it.

    Raises:
        RuntimeError: there are others, and they were not joined.
    """
    if world() == 1:
        return [value]
    from torch import distributed

    values = [value] * world()
    distributed.all_gather_object(values, value)
    return values
