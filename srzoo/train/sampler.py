"""The order of a run's samples: one endless stream, cut into steps, shared out between processes."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class StepBatches(Sampler[list[int]]):
    """Batches of positions ``epoch * length + index`` for `AugmentedDataset`, each epoch in an order of its own.

    The stream does not stop at the end of an epoch, so that every batch is full, however few images there are. Which
    positions a step holds depends on ``(length, batch_size, seed)`` alone: a stopped run goes on in the middle of an
    epoch, and several processes see what one would.

    Args:
        length: images in the dataset.
        batch_size: of a step, over all processes.
        parts: batches to cut a step into, for gradient accumulation.
        steps: range of the steps to yield.
        seed: of the order.
        rank, world: this process and their number.

    Raises:
        ValueError: ``batch_size`` is not divisible by ``parts * world``.
    """

    def __init__(
        self, length: int, batch_size: int, parts: int, steps: range, seed: int, rank: int = 0, world: int = 1
    ):
        if batch_size % (parts * world):
            raise ValueError(
                f"batch_size={batch_size} cannot be shared evenly by {world} processes with accumulate={parts}; "
                f"take a multiple of {parts * world}"
            )
        self.length, self.batch_size, self.parts, self.steps, self.seed = length, batch_size, parts, steps, seed
        self.rank, self.size = rank, batch_size // (parts * world)
        self._epoch, self._order = -1, []

    def __len__(self) -> int:
        return len(self.steps) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for part in range(self.parts):
                first = step * self.batch_size + (part * self.batch_size // self.parts) + self.rank * self.size
                yield [self._position(place) for place in range(first, first + self.size)]

    def _position(self, place: int) -> int:
        epoch, index = divmod(place, self.length)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed + 1_000_003 * epoch)
            self._epoch, self._order = epoch, torch.randperm(self.length, generator=generator).tolist()
        return epoch * self.length + self._order[index]
