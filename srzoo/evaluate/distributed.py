"""Processes that ``torchrun`` or ``accelerate launch`` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the other processes, if there are any; each on a GPU of its own where there are GPUs and they are wanted.

    Args:
        device: what was given as ``--device``.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if not on_cpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("gloo" if on_cpu else None)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def gather(value: T) -> list[T]:
    """The value of every process, in order of rank, in every process."""
    values = [value] * world()
    if world() > 1:
        distributed.all_gather_object(values, value)
    return values
