"""What a model sees in one image."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from .pictures import label_image, overlay


@dataclass
class Segmentation:
    """The result for one image, at the image's own size.

    Attributes:
        image: the input as upright RGB.
        labels: ``(H, W)`` class ids, uint8 (int64 above 256 classes).
        classes: class names in order of id.
        palette: an RGB colour (0..255) per class.
    """

    image: Image.Image
    labels: np.ndarray
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    _logits: torch.Tensor = field(repr=False)
    _align_corners: bool = field(default=False, repr=False)

    def probabilities(self) -> np.ndarray:
        """``(K, H, W)`` float32 class probabilities; made on demand, as they take ``4 K`` bytes a pixel."""
        size = self.labels.shape
        logits = F.interpolate(self._logits, size=size, mode="bilinear", align_corners=self._align_corners)
        return logits[0].float().softmax(0).cpu().numpy()

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The classes' colours over the image."""
        return overlay(self.image, self.labels, self.palette, alpha)

    def label_image(self) -> Image.Image:
        """A palette image whose pixel values are the class ids."""
        return label_image(self.labels, self.palette)

    def shares(self) -> dict[str, float]:
        """Fraction of the image under each class found in it, largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        order = np.argsort(-counts, kind="stable")
        return {self.classes[i]: counts[i] / self.labels.size for i in order if counts[i]}

    def _repr_png_(self) -> bytes:
        """The picture a notebook shows."""
        buffer = io.BytesIO()
        self.overlay().save(buffer, "PNG")
        return buffer.getvalue()
