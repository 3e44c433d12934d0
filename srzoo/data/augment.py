"""Joint augmentation of an image and its mask, by torchvision's v2 transforms."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from ..transform import Transform
from .dataset import SegmentationData
from .labels import IGNORE

_CROP_TRIES = 10
_LUMA = torch.tensor([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Augment:
    """Random scale, crop, flip, colour jitter and blur.

    Attributes:
        crop: side of the square crop in pixels; a smaller image is padded with black and 255.
        scale: range of the resize factor, drawn log-uniformly.
        short_side: the image's short side in pixels at factor 1; None for the image's own.
        max_class_share: a crop in which one class holds more than this share is drawn again, up to ten times.
        jitter: strength of brightness, contrast and saturation; the hue's is a sixth of it.
        blur: probability of a Gaussian blur.
    """

    crop: int
    scale: tuple[float, float] = (0.5, 2.0)
    short_side: int | None = None
    max_class_share: float = 0.75
    jitter: float = 0.3
    blur: float = 0.0

    @cached_property
    def _transform(self) -> v2.Compose:
        return v2.Compose(
            [
                RandomScaledCrop(self.crop, self.scale, self.short_side, self.max_class_share),
                v2.RandomHorizontalFlip(),
                RandomColour(self.jitter, self.jitter / 6),
                v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], self.blur),
            ]
        )

    def __call__(self, image: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """``(H, W, 3)`` and ``(H, W)`` uint8 to ``(3, crop, crop)`` and ``(crop, crop)`` uint8 tensors."""
        pair = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(mask))
        image, mask = self._transform(*pair)
        return image.as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor)


class RandomScaledCrop(v2.Transform):
    """A crop of the resized image, by resizing no more than the pixels under the crop.

    Args:
        crop, scale, short_side, max_class_share: as in `Augment`.
    """

    def __init__(self, crop: int, scale: tuple[float, float], short_side: int | None, max_class_share: float):
        super().__init__()
        self.crop, self.scale, self.short_side, self.max_class_share = crop, scale, short_side, max_class_share

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        mask = next(item for item in flat_inputs if isinstance(item, tv_tensors.Mask))
        own = tuple(mask.shape[-2:])
        base = own if self.short_side is None else Transform(self.short_side).input_size(*own)
        factor = torch.empty(()).uniform_(*map(math.log, self.scale)).exp().item()
        resized = [max(1, round(side * factor)) for side in base]
        size = [min(self.crop, side) for side in resized]
        window = [max(1, round(side * part / whole)) for side, part, whole in zip(own, size, resized)]
        for _ in range(_CROP_TRIES):
            corner = [_randint(side - part) for side, part in zip(own, window)]
            counts = torch.bincount(F.crop(mask, *corner, *window).flatten(), minlength=256)[:IGNORE]
            if counts.max() <= self.max_class_share * counts.sum() and counts.sum() > 0:
                break
        before = [_randint(self.crop - side) for side in size]
        after = [self.crop - side - pad for side, pad in zip(size, before)]
        return {"box": (*corner, *window), "size": size, "padding": [before[1], before[0], after[1], after[0]]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        is_mask = isinstance(inpt, tv_tensors.Mask)
        # Plain NEAREST is off by half a pixel against the image.
        mode = v2.InterpolationMode.NEAREST_EXACT if is_mask else v2.InterpolationMode.BILINEAR
        inpt = F.resize(F.crop(inpt, *params["box"]), params["size"], interpolation=mode, antialias=True)
        return F.pad(inpt, params["padding"], fill=IGNORE if is_mask else 0)


class RandomColour(v2.Transform):
    """Brightness, contrast, saturation and hue at once, as one affine map of RGB.

    `v2.ColorJitter` takes the hue through HSV, which is ten times as slow as all of this.

    Args:
        strength: brightness, contrast and saturation are drawn from ``1 - strength`` to ``1 + strength``.
        hue: the hue turns by up to this share of a full circle, about the gray axis.
    """

    def __init__(self, strength: float, hue: float):
        super().__init__()
        self.strength, self.hue = strength, hue

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        brightness, contrast, saturation = torch.empty(3).uniform_(1 - self.strength, 1 + self.strength)
        turned = _hue_rotation(2 * math.pi * torch.empty(()).uniform_(-self.hue, self.hue))
        saturated = saturation * torch.eye(3) + (1 - saturation) * _LUMA.expand(3, 3)
        return {"matrix": brightness * saturated @ turned, "contrast": contrast}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        pixels = inpt.as_subclass(torch.Tensor).flatten(1).float()
        matrix, contrast = params["matrix"], params["contrast"]
        gray = _LUMA @ matrix @ pixels.mean(1)
        pixels = torch.addmm(((1 - contrast) * gray).expand(3, 1), contrast * matrix, pixels)
        return tv_tensors.wrap(pixels.clamp_(0, 255).to(torch.uint8).view(inpt.shape), like=inpt)


def _hue_rotation(angle: torch.Tensor) -> torch.Tensor:
    """``(3, 3)``: the rotation of RGB by ``angle`` about the gray axis (Rodrigues' formula)."""
    axis = 3**-0.5
    cross = axis * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * cross @ cross


def _randint(high: int) -> int:
    """From 0 to ``high``, both included."""
    return int(torch.randint(high + 1, ()))


class AugmentedDataset(Dataset):
    """A dataset under `Augment`, each sample drawn from a seed of its own.

    A sample depends on ``(seed, epoch, index)`` alone, so that a resumed run sees the same images whatever the
    number of workers. An item is asked for as ``epoch * len + index``.
    """

    def __init__(self, dataset: SegmentationData, augment: Augment, seed: int):
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
