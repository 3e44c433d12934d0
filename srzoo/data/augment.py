"""Joint augmentation of an image and its mask, by torchvision's v2 transforms."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from .labels import IGNORE

_CROP_TRIES = 10


@dataclass(frozen=True)
class Augment:
    """Random scale, crop, flip and colour jitter.

    Attributes:
        crop: side of the square crop in pixels; a smaller image is padded with black and 255.
        scale: range of the resize factor, drawn log-uniformly.
        max_class_share: a crop in which one class holds more than this share is drawn again, up to ten times.
        jitter: strength of brightness, contrast and saturation; the hue's is a sixth of it.
    """

    crop: int
    scale: tuple[float, float] = (0.5, 2.0)
    max_class_share: float = 0.75
    jitter: float = 0.3

    def __call__(self, image: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """``(H, W, 3)`` and ``(H, W)`` uint8 to ``(3, crop, crop)`` uint8 and ``(crop, crop)`` int64 tensors."""
        pair = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(mask))
        low, high = np.log(self.scale)
        factor = torch.empty(()).uniform_(low, high).exp().item()
        size = [max(1, round(side * factor)) for side in mask.shape]
        pair = v2.Resize(size, antialias=True)(*pair)
        pair = self._crop(*pair)
        finish = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(self.jitter, self.jitter, self.jitter, self.jitter / 6),
                v2.ToDtype({tv_tensors.Mask: torch.int64, "others": None}),
            ]
        )
        image, mask = finish(*pair)
        return image.as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor)

    def _crop(self, image: torch.Tensor, mask: torch.Tensor):
        crop = v2.RandomCrop(self.crop, pad_if_needed=True, fill={tv_tensors.Mask: IGNORE, "others": 0})
        for _ in range(_CROP_TRIES):
            cropped = crop(image, mask)
            counts = torch.bincount(cropped[1].flatten(), minlength=256)[:IGNORE]
            if counts.max() <= self.max_class_share * counts.sum() and counts.sum() > 0:
                break
        return cropped


class AugmentedDataset(Dataset):
    """A dataset under `Augment`, each sample drawn from a seed of its own.

    A sample depends on ``(seed, epoch, index)`` alone, so that a resumed run sees the same images whatever the
    number of workers. An item is asked for as ``epoch * len + index``.
    """

    def __init__(self, dataset: Dataset, augment: Augment, seed: int):
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
