"""Random scale and crop of an image together with its masks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F


class ScaledCrop(v2.Transform):
    """A random crop of the resized image. Only the pixels under the crop are resized.

    Example: at factor 2 an image of 100x200 pixels would be resized to 200x400. With ``crop=50`` the crop has ``size``
    50x50 there, which is a ``window`` of 25x25 pixels in the image: it is cut out and resized to 50x50.

    Args:
        crop: side of the square crop in pixels; a smaller image is left as it is. None for the whole image.
        scale: range of the resize factor, which is drawn log-uniformly.
        short_side: short side of the image in pixels at factor 1; None for the size of the image.
        long_side: limit of the long side at factor 1.
    """

    def __init__(
        self,
        crop: int | None,
        scale: tuple[float, float],
        short_side: int | None = None,
        long_side: int | None = None,
    ):
        super().__init__()
        self.crop, self.scale, self.short_side, self.long_side = crop, scale, short_side, long_side

    def base_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """``(H, W)`` of an image of this size at factor 1."""
        if self.short_side is None:
            return size
        factor = self.short_side / min(size)
        if self.long_side is not None:
            factor = min(factor, self.long_side / max(size))
        return tuple(max(1, round(side * factor)) for side in size)

    def corner(self, flat_inputs: list[Any], own: tuple[int, int], window: list[int]) -> list[int]:
        """Top and left of a window, at random.

        Args:
            flat_inputs: the image and its masks.
            own: ``(H, W)`` of the image.
            window: ``(h, w)`` of the window.
        """
        return [randint(side - part) for side, part in zip(own, window)]

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """``size`` ``(h, w)`` of the result and the ``box`` (top, left, height, width) in the image to resize to it."""
        own = tuple(flat_inputs[0].shape[-2:])
        factor = torch.empty(()).uniform_(*map(math.log, self.scale)).exp().item()
        resized = [max(1, round(side * factor)) for side in self.base_size(own)]
        size = resized if self.crop is None else [min(self.crop, side) for side in resized]
        window = [max(1, round(side * part / whole)) for side, part, whole in zip(own, size, resized)]
        return {"size": size, "box": (*self.corner(flat_inputs, own, window), *window)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        # NEAREST samples at pixel corners, and would shift the mask by half a pixel against the image.
        is_mask = isinstance(inpt, tv_tensors.Mask)
        mode = v2.InterpolationMode.NEAREST_EXACT if is_mask else v2.InterpolationMode.BILINEAR
        return F.resize(F.crop(inpt, *params["box"]), params["size"], interpolation=mode, antialias=True)


def randint(high: int) -> int:
    """A random integer from 0 to ``high``, both included."""
    return int(torch.randint(high + 1, ()))
