"""What a model wants its input to look like. Imports numpy and torch only when used."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from PIL import Image


@dataclass(frozen=True)
class Transform:
    """Resize and normalization between an 8-bit RGB image and a model's input.

    Attributes:
        short_side: pixels of the short side as the network sees it.
        max_pixels: limit of the area, so that a long or a huge image stays cheap.
        mean, std: of each channel, on the scale 0..1.
        multiple: both sides are multiples of this, the model's output stride: with other sides the maps within the
            network are shifted against each other by up to a cell, which thin classes do not forgive.
        long_side: limit of the long side in pixels; None for none.
        fit: how sides become such multiples: "stretch" reduces each of them a little, and so changes the proportions;
            "pad" keeps these, and adds zeros at the right and the bottom, as detectors have it.

    Raises:
        ValueError: another ``fit``.
    """

    short_side: int
    max_pixels: int = 2 << 20
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    multiple: int = 1
    long_side: int | None = None
    fit: Literal["stretch", "pad"] = "stretch"

    MIN_SIDE = 32

    def __post_init__(self):
        if self.fit not in ("stretch", "pad"):
            raise ValueError(f"fit must be 'stretch' or 'pad', got {self.fit!r}")

    def content_size(self, height: int, width: int) -> tuple[int, int]:
        """``(H, W)`` to which an image of this size is resized: `input_size` without padding."""
        scale = self.short_side / min(height, width)
        scale = min(scale, (self.max_pixels / (height * width)) ** 0.5)
        if self.long_side is not None:
            scale = min(scale, self.long_side / max(height, width))
        # An extreme strip loses its proportions rather than its short side.
        sides = (min(round(side * scale), self.max_pixels // self.MIN_SIDE) for side in (height, width))
        step = self.multiple if self.fit == "stretch" else 1
        return tuple(max(self.MIN_SIDE, side // step * step) for side in sides)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """``(H, W)`` of the network's input for an image of this size."""
        return tuple(-(-side // self.multiple) * self.multiple for side in self.content_size(height, width))

    def scaled(self, factor: float) -> Transform:
        """The transform to an input ``factor`` times as large on a side."""
        return dataclasses.replace(
            self,
            short_side=round(self.short_side * factor),
            max_pixels=round(self.max_pixels * factor**2),
            long_side=None if self.long_side is None else round(self.long_side * factor),
        )

    def without_reduction(self, height: int, width: int) -> Transform:
        """The transform that shows an image of this size at no less than its own resolution, but for `multiple`."""
        return dataclasses.replace(
            self,
            short_side=max(self.short_side, min(height, width)),
            max_pixels=max(self.max_pixels, height * width),
            long_side=None if self.long_side is None else max(self.long_side, height, width),
        )

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """``(1, 3, H, W)`` float32 model input of an RGB image, padded with zeros, the mean colour, to `input_size`."""
        from torch.nn.functional import pad

        x = self.normalize(self.resize(image))
        height, width = self.input_size(image.height, image.width)
        return pad(x, (0, width - x.shape[3], 0, height - x.shape[2]))

    def resize(self, image: Image.Image) -> torch.Tensor:
        """``(1, 3, H, W)`` uint8 pixels of an RGB image at its `content_size`."""
        import numpy as np
        import torch
        from PIL import Image

        height, width = self.content_size(image.height, image.width)
        if (height, width) != (image.height, image.width):
            image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """float32 of ``(N, 3, H, W)`` uint8 images, with ``mean`` and ``std`` applied."""
        import torch

        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return (images.float() / 255 - mean) / std

    @classmethod
    def from_dict(cls, values: dict) -> Transform:
        """The transform whose ``dataclasses.asdict`` went through JSON; keys that an older file lacks have defaults.

        Raises:
            TypeError: a key that it does not have, or no ``short_side``.
        """
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
