"""A dataset whose every sample is drawn from a seed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..images import ImageWarning
from .samples import ImageData


class AugmentedDataset(Dataset):
    """A dataset under a random augmentation, each sample drawn from a seed of its own.

    A sample depends on ``seed`` and its position alone, so a resumed run sees the same images with any number of
    workers. Position ``epoch * len(dataset) + index`` is made from image ``index``.

    Args:
        dataset: a split for any task.
        augment: takes the elements of an item, the image first, and returns a tuple; it draws from torch's global
            generator, which is seeded before each call and restored after it.
        seed: of the whole run.
        collate: makes a batch of samples; default that of the data loader.
    """

    def __init__(
        self,
        dataset: ImageData,
        augment: Callable[..., tuple],
        seed: int,
        collate: Callable[[list], Any] | None = None,
    ):
        self.dataset, self.augment, self.seed, self.collate = dataset, augment, seed, collate

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> tuple:
        """What ``augment`` returned, and the index of the image.

        Raises:
            ValueError: the image or its annotation cannot be read.
        """
        index = position % len(self.dataset)
        return (*self.sample(index, position), index)

    def sample(self, index: int, *key: int) -> tuple:
        """What ``augment`` returns for an image, drawn from the seed and a key. Raises as indexing."""
        with warnings.catch_warnings():  # said before the run, and here of each image in each epoch
            warnings.simplefilter("ignore", ImageWarning)
            sample = self.dataset[index]
        with torch.random.fork_rng(devices=[]):
            # Not `torch.manual_seed`, which also seeds every kind of device: a tenth of the time of a small image.
            torch.default_generator.manual_seed(int(np.random.SeedSequence([self.seed, *key]).generate_state(1)[0]))
            return self.augment(*sample)
