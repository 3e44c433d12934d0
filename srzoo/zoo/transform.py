"""What a model wants its input to look like. Imports numpy and torch only when used."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from PIL import Image

_STRIP_ROWS = 512


@dataclass(frozen=True)
class Transform:
    """Resize and normalization between an 8-bit RGB image and a model's input.

    Attributes:
        short_side: pixels of the short side as the network sees it.
        max_pixels: limit of the area, so that a long or a huge image stays cheap.
        mean, std: of each channel, on the scale 0..1.
        multiple: both sides are multiples of this, the model's output stride: with other sides the maps within the
            network are shifted against each other by up to a cell, which thin classes do not forgive.
    """

    short_side: int
    max_pixels: int = 2 << 20
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    multiple: int = 1

    MIN_SIDE = 32

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """``(H, W)`` at which the network sees an image of this size."""
        scale = self.short_side / min(height, width)
        scale = min(scale, (self.max_pixels / (height * width)) ** 0.5)
        # An extreme strip loses its proportions rather than its short side.
        sides = (min(round(side * scale), self.max_pixels // self.MIN_SIDE) for side in (height, width))
        return tuple(max(self.MIN_SIDE, side // self.multiple * self.multiple) for side in sides)

    def scaled(self, factor: float) -> Transform:
        """The transform to an input ``factor`` times as large on a side."""
        return dataclasses.replace(
            self, short_side=round(self.short_side * factor), max_pixels=round(self.max_pixels * factor**2)
        )

    def without_reduction(self, height: int, width: int) -> Transform:
        """The transform that shows an image of this size at no less than its own resolution, but for `multiple`."""
        return dataclasses.replace(
            self,
            short_side=max(self.short_side, min(height, width)),
            max_pixels=max(self.max_pixels, height * width),
        )

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """``(1, 3, H, W)`` float32 model input of an RGB image."""
        return self.normalize(self.resize(image))

    def resize(self, image: Image.Image) -> torch.Tensor:
        """``(1, 3, H, W)`` uint8 pixels of an RGB image at the size that the network sees."""
        return _pixels(_resized(image, *self.input_size(image.height, image.width))).permute(2, 0, 1)[None]

    def resize_columns(self, image: Image.Image, start: int, stop: int) -> torch.Tensor:
        """Columns ``start:stop`` of what `resize` gives, without the others, of an image that keeps its width.

        Then Pillow resizes every column by itself. Of an image that does not, Pillow resizes rows first or columns
        first, whichever it takes for quicker, and rounds in between: parts of it would not be those of the whole.

        Raises:
            ValueError: the image does not keep its width.
        """
        height, width = self.input_size(image.height, image.width)
        if width != image.width:
            raise ValueError(f"columns can be resized alone at the image's width, {image.width}, not at {width}")
        pixels = _pixels(_resized(image.crop((start, 0, stop, image.height)), height, stop - start))
        return pixels[None].permute(0, 3, 1, 2)  # so that torch takes rows of it, too, for channels_last

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """float32 of ``(N, 3, H, W)`` uint8 images, with ``mean`` and ``std`` applied."""
        import torch

        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return images.to(torch.float32, copy=True).div_(255).sub_(mean).div_(std)

    @classmethod
    def from_dict(cls, values: dict) -> Transform:
        """The transform whose ``dataclasses.asdict`` went through JSON; keys that an older file lacks have defaults.

        Raises:
            TypeError: a key that it does not have, or no ``short_side``.
        """
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _resized(image: Image.Image, height: int, width: int) -> Image.Image:
    from PIL import Image

    if (height, width) == (image.height, image.width):
        return image
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _pixels(image: Image.Image) -> torch.Tensor:
    """``(H, W, 3)`` uint8; in strips, as Pillow gives out pixels in pieces and joins them."""
    import numpy as np
    import torch

    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height)))
        pixels[top : top + strip.height] = strip
    return torch.from_numpy(pixels)
