"""The result of semantic segmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from ..result import ImageResult, Region
from ..saving import LABELS, Saving
from ..task import Found, percent_of
from .pictures import label_image, overlay

_COUNTED = 1 << 22  # labels at a time: 32 MiB as int64


@dataclass(eq=False, repr=False)
class Segmentation(ImageResult):
    """The segmentation of one image, at the size of the image; equal to another one if all of their values are.

    Attributes:
        image: the input as upright RGB.
        labels: ``(H, W)`` class ids, uint8 (int64 above 256 classes).
        classes: class names in order of id.
        palette: an RGB colour (0..255) for each class.
    """

    image: Image.Image
    labels: np.ndarray
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    _passes: list[torch.Tensor]  # (1, K, h, w) logits on the CPU, for each scale and flip; or none
    _align_corners: bool = False

    def probabilities(self) -> np.ndarray:
        """``(K, H, W)`` float32 class probabilities, computed at each call; they take ``4 K`` bytes per pixel.

        Raises:
            ValueError: the result was made with ``brief=True``.
        """
        if not self._passes:
            raise ValueError("a result made with brief=True has no probabilities; call the Segmenter without it")
        size = self.labels.shape
        resized = (
            F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=self._align_corners)[0].softmax(0)
            for logits in self._passes
        )
        return (sum(resized) / len(self._passes)).numpy()

    def _drawn(self, alpha: float) -> Image.Image:
        return overlay(self.image, self.labels, self.colours, alpha)

    def mask(self, which: str | int) -> np.ndarray:
        """``(H, W)`` bool, the pixels of a class, by its name or id; none of a class that was not found.

        Raises:
            ValueError: there is no such class.
        """
        if isinstance(which, str):
            return self.labels == self.class_id(which)
        return self.labels == self._number(which, "class", range(len(self.classes)))

    def label_image(self, gray: bool = False) -> Image.Image:
        """A palette image whose pixel values are the class ids; 16-bit gray for more than 256 classes.

        Args:
            gray: make it gray too, so that a program that reads the brightness finds the ids.
        """
        return label_image(self.labels, None if gray else self.palette)

    def shares(self) -> dict[str, float]:
        """Fraction of the image that each class covers, for the classes found in it, largest first."""
        counts = np.zeros(len(self.classes), np.int64)
        for rows in np.array_split(self.labels, -(-self.labels.size // _COUNTED)):  # bincount converts to int64
            counts += np.bincount(rows.ravel(), minlength=len(counts))
        order = np.argsort(-counts, kind="stable")
        return {self.classes[i]: float(counts[i] / self.labels.size) for i in order if counts[i]}

    def found(self) -> list[Found]:
        """The classes found in the image with their shares in percent, largest first."""
        colours = dict(zip(self.classes, self.colours))
        return [Found(name, percent_of(share), colours[name]) for name, share in self.shares().items()]

    def to_dict(self) -> dict[str, Any]:
        """Width and height in pixels, and the shares, as values that JSON can hold."""
        return {"width": self.image.width, "height": self.image.height, "shares": self.shares()}

    def regions(self) -> Iterator[Region]:
        """The pixels of each class found."""
        for name in self.shares():
            class_id = self.classes.index(name)
            yield Region(class_id, self.labels == class_id, 0, 0)

    def _contents(self, saving: Saving) -> dict[str, Callable[[], Any]]:
        return {LABELS: lambda: self.label_image(saving.gray)}
