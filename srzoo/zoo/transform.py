"""The transform from an image to a model's input. Imports numpy and torch only when used."""

from __future__ import annotations

import dataclasses
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..data.bands import Bands

if TYPE_CHECKING:
    import torch
    from PIL import Image

FITS = ("stretch", "pad")
_STRIP_ROWS = 512  # converted at a time
_LONGEST = 8  # ratio of the sides of an image up to which a short side that was asked for is kept


@dataclass(frozen=True)
class Transform:
    """Resizing and normalization of an image for a model: 8-bit RGB, or `srzoo.data.bands.Bands` of other channels.

    Attributes:
        short_side: short side of the network's input, in pixels.
        max_pixels: limit of its area, in pixels, which bounds the cost of long or huge images.
        mean, std: of each channel, in 0..1; as many as the model's images have channels.
        multiple: height and width of the input are multiples of this, the model's output stride. For other sizes the
            feature maps inside the network would be shifted against each other by up to one cell, which harms thin
            classes.
        long_side: limit of the long side in pixels; None for no limit.
        fit: how the sides become such multiples. "stretch" reduces each side a little, which changes the proportions.
            "pad" keeps the proportions and adds zeros at the right and at the bottom, as detectors do.

    Raises:
        ValueError: ``fit`` is neither "stretch" nor "pad", or mean and std differ in length.
    """

    short_side: int
    max_pixels: int = 2 << 20
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    multiple: int = 1
    long_side: int | None = None
    fit: Literal["stretch", "pad"] = "stretch"

    MIN_SIDE = 32

    def __post_init__(self):
        if self.fit not in FITS:
            raise ValueError(f"fit must be 'stretch' or 'pad', got {self.fit!r}")
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels, std {len(self.std)}")

    @property
    def channels(self) -> int:
        """Number of channels of an image."""
        return len(self.mean)

    def with_channels(self, channels: int) -> Transform:
        """A transform for images of another number of channels, as `srzoo.backbones.stem.adapt_stem` adapts weights.

        One channel has the average of mean and std, others have those of the present ones, repeated.
        """
        if channels == self.channels:
            return self
        mean, std = (
            (sum(values) / len(values),) if channels == 1 else tuple(values[i % len(values)] for i in range(channels))
            for values in (self.mean, self.std)
        )
        return dataclasses.replace(self, mean=mean, std=std)

    def content_size(self, height: int, width: int) -> tuple[int, int]:
        """``(H, W)`` to which an image of this size is resized, in pixels: `input_size` without the padding."""
        scale = self.short_side / min(height, width)
        scale = min(scale, (self.max_pixels / (height * width)) ** 0.5)
        if self.long_side is not None:
            scale = min(scale, self.long_side / max(height, width))
        # In an extreme strip the long side is limited, so the proportions change, but the short side does not.
        sides = (min(round(side * scale), self.max_pixels // self.MIN_SIDE) for side in (height, width))
        step = self.multiple if self.fit == "stretch" else 1
        return tuple(max(self.MIN_SIDE, side // step * step) for side in sides)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """``(H, W)`` of the network's input for an image of this size, in pixels."""
        return tuple(-(-side // self.multiple) * self.multiple for side in self.content_size(height, width))

    def with_short_side(self, short_side: int) -> Transform:
        """A transform to another short side, in images up to 8 times as long as wide.

        `max_pixels` is raised as needed, and a limit of the long side keeps its proportion to the short side.
        """
        if self.long_side is None:
            pixels = max(self.max_pixels, _LONGEST * short_side**2)
            return dataclasses.replace(self, short_side=short_side, max_pixels=pixels)
        long_side = round(self.long_side * short_side / self.short_side)
        pixels = max(self.max_pixels, short_side * long_side)
        return dataclasses.replace(self, short_side=short_side, long_side=long_side, max_pixels=pixels)

    def warn_of_limit(self, height: int, width: int) -> None:
        """Warn if `max_pixels` makes the short side of an image of this size shorter than `short_side`, and its own."""
        short, wanted = min(self.content_size(height, width)), min(self.short_side, height, width)
        if wanted - short > self.multiple and (self.max_pixels / (height * width)) ** 0.5 < wanted / min(height, width):
            warnings.warn(
                f"an image of {width}x{height} pixels is reduced to a short side of {short}, not {wanted}, as the "
                f"model takes {self.max_pixels:,} pixels at most; cut it into shorter parts",
                stacklevel=3,
            )

    def scaled(self, factor: float) -> Transform:
        """A transform whose input has sides ``factor`` times as large."""
        return dataclasses.replace(
            self,
            short_side=round(self.short_side * factor),
            max_pixels=round(self.max_pixels * factor**2),
            long_side=None if self.long_side is None else round(self.long_side * factor),
        )

    def without_reduction(self, height: int, width: int) -> Transform:
        """A transform that does not shrink an image of this size, apart from rounding to `multiple`."""
        return dataclasses.replace(
            self,
            short_side=max(self.short_side, min(height, width)),
            max_pixels=max(self.max_pixels, height * width),
            long_side=None if self.long_side is None else max(self.long_side, height, width),
        )

    def without_limit(self, height: int, width: int) -> Transform:
        """A transform that gives an image of this size the usual short side, however many pixels that makes."""
        pixels = math.ceil(height * width * (self.short_side / min(height, width)) ** 2) + 1
        return dataclasses.replace(self, max_pixels=max(self.max_pixels, pixels))

    def __call__(self, image: Image.Image | Bands) -> torch.Tensor:
        """The model's input ``(1, C, H, W)`` in float32 for an image. The padding is zero, the mean colour."""
        from torch.nn.functional import pad

        x = self.normalize(self.resize(image))
        height, width = self.input_size(image.height, image.width)
        return pad(x, (0, width - x.shape[3], 0, height - x.shape[2]))

    def resize(self, image: Image.Image | Bands) -> torch.Tensor:
        """An image resized to its `content_size`: ``(1, 3, H, W)`` uint8, or ``(1, C, H, W)`` float32 of `Bands`."""
        return _pixels(_resized(image, *self.content_size(image.height, image.width))).permute(2, 0, 1)[None]

    def resize_columns(self, image: Image.Image | Bands, start: int, stop: int) -> torch.Tensor:
        """Columns ``start:stop`` of the result of `resize`, computed alone, for an image that keeps its width.

        Pillow then resizes each column independently. If both sides change, it resizes the rows or the columns first,
        depending on the cost, and rounds in between, so a part of the image would not give a part of the result.

        Raises:
            ValueError: the width changes.
        """
        height, width = self.content_size(image.height, image.width)
        if width != image.width:
            raise ValueError(
                f"columns cannot be resized alone from width {image.width} to {width}; use resize for the whole image"
            )
        pixels = _pixels(_resized(image.crop((start, 0, stop, image.height)), height, stop - start))
        return pixels[None].permute(0, 3, 1, 2)  # with strides that torch recognizes as channels_last

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Normalize ``(N, C, H, W)`` images in 0..255 with ``mean`` and ``std``; the result is float32."""
        import torch

        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return images.to(torch.float32, copy=True).div_(255).sub_(mean).div_(std)


def _resized(image: Image.Image | Bands, height: int, width: int) -> Image.Image | Bands:
    from PIL import Image

    if (height, width) == (image.height, image.width):
        return image
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _pixels(image: Image.Image | Bands) -> torch.Tensor:
    """``(H, W, 3)`` uint8, converted in strips, since Pillow's export makes two copies of what it exports.

    Of `Bands` it is ``(H, W, C)`` float32.
    """
    import numpy as np
    import torch

    if isinstance(image, Bands):
        return torch.from_numpy(np.ascontiguousarray(image.pixels))
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height)))
        pixels[top : top + strip.height] = strip
    return torch.from_numpy(pixels)
