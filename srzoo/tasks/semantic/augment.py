"""Joint augmentation of an image and its mask, by torchvision's v2 transforms."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from ...data.colour import RandomColour
from ...labels import IGNORE
from ...zoo.transform import Transform

_CROP_TRIES = 10


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


def _randint(high: int) -> int:
    """From 0 to ``high``, both included."""
    return int(torch.randint(high + 1, ()))
