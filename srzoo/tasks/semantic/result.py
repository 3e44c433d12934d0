"""The result of semantic segmentation."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from ...files import replacing
from ..equality import ComparedByValue
from ..task import Found
from .pictures import label_image, overlay

_JPEG_MAX_SIDE = 65500  # pixels, the limit of libjpeg
_COUNTED = 1 << 22  # labels at a time: 32 MiB as int64


@dataclass(eq=False)
class Segmentation(ComparedByValue):
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
    _passes: list[torch.Tensor] = field(repr=False)  # (1, K, h, w) logits on the CPU, for each scale and flip; or none
    _align_corners: bool = field(default=False, repr=False)

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

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The colours of the classes drawn over the image.

        Args:
            alpha: opacity of the colours, from 0 (the image alone) to 1 (the colours alone).

        Raises:
            ValueError: ``alpha`` is not in 0..1.
        """
        return overlay(self.image, self.labels, self.palette, alpha)

    def label_image(self) -> Image.Image:
        """A palette image whose pixel values are the class ids; 16-bit gray for more than 256 classes."""
        return label_image(self.labels, self.palette)

    def shares(self) -> dict[str, float]:
        """Fraction of the image that each class covers, for the classes found in it, largest first."""
        counts = np.zeros(len(self.classes), np.int64)
        for rows in np.array_split(self.labels, -(-self.labels.size // _COUNTED)):  # bincount converts to int64
            counts += np.bincount(rows.ravel(), minlength=len(counts))
        order = np.argsort(-counts, kind="stable")
        return {self.classes[i]: float(counts[i] / self.labels.size) for i in order if counts[i]}

    def found(self) -> list[Found]:
        """The classes found in the image with their shares in percent, largest first."""
        colours = dict(zip(self.classes, self.palette))
        return [Found(name, f"{share:.1%}", colours[name]) for name, share in self.shares().items()]

    def to_dict(self) -> dict[str, Any]:
        """Width and height in pixels, and the shares, as values that JSON can hold."""
        return {"width": self.image.width, "height": self.image.height, "shares": self.shares()}

    def save(self, base: Path) -> list[Path]:
        """Write the label image to ``<base>_labels.png`` and the overlay to ``<base>_overlay.jpg``.

        The overlay is a PNG file if a side is longer than 65,500 pixels, the limit of JPEG.

        Returns:
            The paths of both files.

        Raises:
            OSError: a file cannot be written.
        """
        labels = base.with_name(f"{base.name}_labels.png")
        with replacing(labels) as temporary:
            self.label_image().save(temporary, "PNG")
        as_jpeg = max(self.image.size) <= _JPEG_MAX_SIDE
        drawn = base.with_name(f"{base.name}_overlay.{'jpg' if as_jpeg else 'png'}")
        with replacing(drawn) as temporary:
            self.overlay().save(temporary, **({"format": "JPEG", "quality": 92} if as_jpeg else {"format": "PNG"}))
        return [labels, drawn]

    def _repr_png_(self) -> bytes:
        """The overlay as a PNG file, which a notebook shows."""
        buffer = io.BytesIO()
        self.overlay().save(buffer, "PNG")
        return buffer.getvalue()
