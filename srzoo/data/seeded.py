"""A dataset whose every sample is drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import Dataset

from .samples import SegmentationData


class AugmentedDataset(Dataset):
    """A dataset under an augmentation, each sample drawn from a seed of its own.

    A sample depends on ``(seed, epoch, index)`` alone, so that a resumed run sees the same images whatever the
    number of workers. An item is asked for as ``epoch * len + index``.
    """

    def __init__(self, dataset: SegmentationData, augment: Callable, seed: int):
        self.dataset, self.augment, self.seed = dataset, augment, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Image, mask and the index of both."""
        index = position % len(self.dataset)
        image, mask = self.dataset[index]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([self.seed, position]).generate_state(1)[0]))
            return (*self.augment(image, mask), index)
