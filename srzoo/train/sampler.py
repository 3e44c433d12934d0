"""The order of the samples of a run: one endless stream, cut into steps and shared between processes."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class StepBatches(Sampler[list[int]]):
    """Batches of positions ``epoch * length + index`` for `AugmentedDataset`, each epoch in another random order.

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

    Raises:
        ValueError: ``batch_size`` is not divisible by ``parts * world``.
    """

    def __init__(
        self, length: int, batch_size: int, parts: int, steps: range, seed: int, rank: int = 0, world: int = 1
    ):
        if batch_size % (parts * world):
            raise ValueError(
                f"batch_size={batch_size} must be divisible by {parts * world}, for {world} processes with "
                f"accumulate={parts}; use a multiple of {parts * world}"
            )
        self.length, self.batch_size, self.parts, self.steps, self.seed = length, batch_size, parts, steps, seed
        self.rank, self.size = rank, batch_size // (parts * world)
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
            generator = torch.Generator().manual_seed(self.seed + 1_000_003 * epoch)
            self._epoch, self._order = epoch, torch.randperm(self.length, generator=generator).tolist()
        return epoch * self.length + self._order[index]
