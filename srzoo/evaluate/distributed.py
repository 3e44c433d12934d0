"""The processes of ``torchrun`` or ``accelerate launch``. Imports torch only if there are several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")
# For the slowest process, which may have the largest images. The launcher ends all processes if one of them dies.
_LONGEST_WAIT = timedelta(days=7)


def rank() -> int:
    """The number of this process, as its launcher has set it; 0 without a launcher."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """The number of processes; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main_process() -> bool:
    """Whether this is the process that prints and writes files."""
    return rank() == 0


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Connect to the other processes, if there are any, with one GPU for each if GPUs are to be used.

    Args:
        device: the value of ``--device``; "cpu" for no GPUs.
    """
    if world() == 1:
        yield
        return
    import torch

    # Imported later, as other modules do, it would keep the group in its functions' defaults until Python shuts down,
    # and with it threads that then may end the process by SIGABRT.
    import torch.distributed.nn.functional
    from torch import distributed

    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if not on_cpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # PyTorch's limit to find the others, since nobody ends a process whose launcher was killed before it was found.
    store, number, count = next(distributed.rendezvous("env://"))
    backend, limit = "gloo" if on_cpu else None, _LONGEST_WAIT
    distributed.init_process_group(backend, store=store, rank=number, world_size=count, timeout=limit)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def gather(value: T) -> list[T]:
    """Collect the values of all processes, in order of rank. Every process has to call it, and gets all values.

    Args:
        value: an object that can be pickled.

    Raises:
        ValueError: there are several processes, and `process_group` has not connected them.
    """
    if world() == 1:
        return [value]
    from torch import distributed

    values = [value] * world()
    distributed.all_gather_object(values, value)
    return values
