"""Rename the tensors of other projects' state dicts to srzoo's names, and reorder their classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ..state_dicts import misfit

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Rows:
    """Which of the first side's entries of their tensors make up srzoo's.

    Attributes:
        order: for each of srzoo's entries the index of theirs; -1 for one that they do not have.
        count: number of their entries.
        bias: the value of an entry that they do not have, in a bias. It is 0 in a weight.
    """

    order: tuple[int, ...]
    count: int
    bias: float = 0.0

    def of(self, value: torch.Tensor) -> torch.Tensor:
        """Srzoo's tensor, given theirs."""
        fill = value.new_full((1, *value.shape[1:]), self.bias if value.dim() == 1 else 0.0)
        return torch.cat([value, fill])[[index % (self.count + 1) for index in self.order]]

    def blocks(self, size: int) -> Rows:
        """Rows of ``size`` entries for each of these."""
        order = tuple(-1 if i < 0 else i * size + j for i in self.order for j in range(size))
        return Rows(order, self.count * size, self.bias)


def renamed(
    state: State, wanted: State, their_name: Callable[[str], str], what: str, rows: Mapping[str, Rows] | None = None
) -> State:
    """Rename ``state`` to the names of ``wanted``, and cast it to its dtypes.

    Args:
        state: their state dict.
        wanted: srzoo's state dict, of which only names, shapes and dtypes are used.
        their_name: from srzoo's name of a tensor to theirs.
        what: what the state dict should be, for the message.
        rows: for tensors whose first side differs, by the start of srzoo's name.

    Raises:
        ValueError: a missing or unexpected tensor, another shape, or values that are not finite.
    """
    theirs = {key: their_name(key) for key in wanted}
    of_key = {key: own for key in wanted for start, own in (rows or {}).items() if key.startswith(start)}
    # PyTorch before 0.4.1 had no such counters, nor have frozen norms. They are not used here.
    counters = {name: torch.zeros(()) for name in theirs.values() if name.endswith("num_batches_tracked")}
    state = {**counters, **state}
    shapes = {theirs[key]: _theirs(value, of_key.get(key)) for key, value in wanted.items()}
    if problem := misfit(state, shapes):
        raise ValueError(f"as a {what} it {problem}")
    for key, value in wanted.items():
        if value.is_floating_point():
            _check_numbers(theirs[key], state[theirs[key]])
    result = {key: state[theirs[key]].to(value.dtype, copy=True) for key, value in wanted.items()}
    return {key: of_key[key].of(value) if key in of_key else value for key, value in result.items()}


def _theirs(value: torch.Tensor, rows: Rows | None) -> torch.Tensor:
    """A tensor of the shape of theirs, given srzoo's."""
    return value if rows is None else torch.empty((rows.count, *value.shape[1:]), device="meta")


def _check_numbers(name: str, value: torch.Tensor) -> None:
    if value.layout != torch.strided or not value.is_floating_point():
        raise ValueError(f"{name} is a {value.layout} tensor of {value.dtype}; expected dense floating point")
    if value.is_meta:
        raise ValueError(f"{name} is a meta tensor, which has no values; save the model on a CPU or GPU")
    if not value.isfinite().all():
        raise ValueError(f"{name} has values that are not finite")


def length(state: State, key: str, default: int) -> int:
    """The first side of a tensor. If the tensor is missing, the default; `renamed` then reports it."""
    return state[key].shape[:1].numel() if key in state else default
