"""The order of the samples of a run: one endless stream, cut into steps and shared between processes."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

_AGAIN = 1 << 32  # between two positions of an image in one epoch, in epochs: more than a run has


class StepBatches(Sampler[list[int]]):
    """Batches of positions for `AugmentedDataset`, ``epoch * length + index``, each epoch in another random order.

    The stream does not stop at the end of an epoch, so every batch is full even if there are few images. Which
    positions a step holds depends only on ``(length, batch_size, seed)``: a stopped run resumes in the middle of an
    epoch, and several processes together see what one process would see.

    Example: ``length=5, batch_size=4``. Step 0 takes places 0 to 3 of the stream, which are in epoch 0. Step 1 takes
    place 4, the last of epoch 0, and 5 to 7, the first three of epoch 1. With ``parts=2``, or in two processes, step 1
    is the batches of places (4, 5) and (6, 7).

    Args:
        length: number of images in the dataset.
        batch_size: images of a step, over all processes.
        parts: number of batches that a step is cut into, for gradient accumulation.
        steps: range of the steps to yield.
        seed: seed of the order.
        rank: number of this process.
        world: number of processes.
        factors: how often each image is seen in relation to the others; None for once an epoch. An epoch has ``length``
            places as without them. An image that has two of them has another position at each, a multiple of
            ``length`` apart, so that it is augmented anew.

    Raises:
        ValueError: ``batch_size`` is not divisible by ``parts * world``.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        parts: int,
        steps: range,
        seed: int,
        rank: int = 0,
        world: int = 1,
        factors: Sequence[float] | None = None,
    ):
        if batch_size % (parts * world):
            raise ValueError(
                f"batch_size={batch_size} must be divisible by {parts * world}, for {world} processes with "
                f"accumulate={parts}; use a multiple of {parts * world}"
            )
        self.length, self.batch_size, self.parts, self.steps, self.seed = length, batch_size, parts, steps, seed
        self.rank, self.size = rank, batch_size // (parts * world)
        self._ends = None if factors is None else length * np.cumsum(factors) / np.sum(factors)
        self._epoch, self._order = -1, []

    def __len__(self) -> int:
        return len(self.steps) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for part in range(self.parts):
                # Of the step's batch_size places, part after part; within a part, rank after rank.
                first = step * self.batch_size + (part * self.batch_size // self.parts) + self.rank * self.size
                yield [self._position(place) for place in range(first, first + self.size)]

    def _position(self, place: int) -> int:
        """What stands at a place of the stream: place 7 of 5 images is the third in the order of epoch 1."""
        epoch, index = divmod(place, self.length)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._positions(epoch)
        return self._order[index]

    def _positions(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        if self._ends is None:
            return [epoch * self.length + index for index in order]
        # Systematic sampling: the number of places of an image differs from its share of the epoch by less than 1.
        offset = torch.rand((), generator=generator, dtype=torch.float64).item()
        images = np.searchsorted(self._ends, np.arange(self.length) + offset, side="right").clip(max=self.length - 1)
        seen, positions = Counter(), []
        for index in images[order].tolist():
            positions.append((epoch + _AGAIN * seen[index]) * self.length + index)
            seen[index] += 1
        return positions
