"""Joint augmentation of an image and its mask, with torchvision's v2 transforms."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from ...data.colour import RandomColour, RandomNoise
from ...data.scaled_crop import ScaledCrop, randint
from ...labels import IGNORE
from ...zoo.transform import Transform

_CROP_TRIES = 10


@dataclass(frozen=True)
class Augment:
    """Random scale, crop, flips, turns, colour jitter, blur and noise.

    Attributes:
        crop: side of the square crop in pixels; a smaller image is padded, with black, and 255 in the mask.
        scale: range of the resize factor, which is drawn log-uniformly.
        short_side: short side of the image in pixels at factor 1; None for the size of the image.
        max_class_share: a crop in which one class covers more than this fraction of the labelled pixels is drawn again,
            up to ten times.
        jitter: strength of the changes of brightness, contrast and saturation; the hue changes by a sixth of it.
        blur: probability of a Gaussian blur.
        noise: greatest standard deviation of Gaussian noise, as a share of the range of the values.
        max_pixels: limit of the image's area at factor 1, if there is a ``short_side``, as of the model's transform.
        flip: mirror the image left to right, with probability one half.
        vertical_flip: mirror it top to bottom, too, with probability one half.
        turns: turn it by a random multiple of 90 degrees.
    """

    crop: int
    scale: tuple[float, float] = (0.5, 2.0)
    short_side: int | None = None
    max_class_share: float = 0.75
    jitter: float = 0.3
    blur: float = 0.0
    noise: float = 0.0
    max_pixels: int = Transform.max_pixels
    flip: bool = True
    vertical_flip: bool = False
    turns: bool = False

    @cached_property
    def _transform(self) -> v2.Compose:
        return v2.Compose(
            [
                RandomScaledCrop(self.crop, self.scale, self.short_side, self.max_class_share, self.max_pixels),
                *([v2.RandomHorizontalFlip()] if self.flip else []),
                *([v2.RandomVerticalFlip()] if self.vertical_flip else []),
                *([RandomTurn()] if self.turns else []),
                RandomColour(self.jitter, self.jitter / 6),
                v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], self.blur),
                *([RandomNoise(self.noise)] if self.noise else []),
            ]
        )

    def __call__(self, image: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment one pair, with random numbers of PyTorch's default generator.

        Args:
            image: ``(H, W, 3)`` uint8 RGB, or ``(H, W, C)`` float32 in 0..255.
            mask: ``(H, W)`` uint8 class ids, 255 for unlabelled pixels.

        Returns:
            ``(C, crop, crop)`` of the image's dtype, and ``(crop, crop)`` uint8.
        """
        pair = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(mask))
        image, mask = self._transform(*pair)
        return image.as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor)


class RandomTurn(v2.Transform):
    """Turns a square crop by 0, 90, 180 or 270 degrees, each as likely."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"turns": randint(3)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.wrap(inpt.as_subclass(torch.Tensor).rot90(params["turns"], (-2, -1)), like=inpt)


class RandomScaledCrop(ScaledCrop):
    """`ScaledCrop` in which no class takes too much; a smaller image is padded to the crop.

    Args:
        crop, scale, short_side, max_class_share, max_pixels: as in `Augment`.
    """

    def __init__(
        self,
        crop: int,
        scale: tuple[float, float],
        short_side: int | None,
        max_class_share: float,
        max_pixels: int = Transform.max_pixels,
    ):
        super().__init__(crop, scale, short_side)
        self.max_class_share = max_class_share
        self.whole = None if short_side is None else Transform(short_side, max_pixels)

    def base_size(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.whole is None:
            return size
        self.whole.warn_of_limit(*size)
        return self.whole.input_size(*size)

    def corner(self, flat_inputs: list[Any], own: tuple[int, int], window: list[int]) -> list[int]:
        mask = next(item for item in flat_inputs if isinstance(item, tv_tensors.Mask))
        for _ in range(_CROP_TRIES):
            corner = super().corner(flat_inputs, own, window)
            counts = torch.bincount(F.crop(mask, *corner, *window).flatten(), minlength=256)[:IGNORE]
            if counts.max() <= self.max_class_share * counts.sum() and counts.sum() > 0:
                break
        return corner

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        params = super().make_params(flat_inputs)
        before = [randint(self.crop - side) for side in params["size"]]
        after = [self.crop - side - pad for side, pad in zip(params["size"], before)]
        return {**params, "padding": [before[1], before[0], after[1], after[0]]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        fill = IGNORE if isinstance(inpt, tv_tensors.Mask) else 0
        return F.pad(super().transform(inpt, params), params["padding"], fill=fill)
