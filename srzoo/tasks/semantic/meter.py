"""The figures of semantic segmentation: mIoU, pixel accuracy and boundary F1."""

from __future__ import annotations

import math

import torch

from ...labels import IGNORE
from ..task import Score
from .boundary import BoundaryF1
from .metrics import ConfusionMatrix
from .result import Segmentation


class SemanticMeter:
    """The meter of semantic segmentation, see `srzoo.tasks.task.Meter`.

    Args:
        classes: class names in order of id.
        device: the device to compare labels on. The counts are on the CPU.
        with_boundary: compute boundary F1 too, which takes longer than everything else.
    """

    def __init__(self, classes: tuple[str, ...], device: torch.device, with_boundary: bool = True):
        self.classes, self.device = classes, device
        self.matrix = ConfusionMatrix(len(classes))
        self.boundary = BoundaryF1(len(classes)) if with_boundary else None

    def update(self, result: Segmentation, sample: tuple) -> float | None:
        """Add one image, and return its mIoU; None if none of its pixels is labelled.

        Args:
            result: the prediction.
            sample: its second entry is the annotation, ``(H, W)`` uint8 class ids with 255 for unlabelled pixels.
        """
        labels = torch.from_numpy(result.labels).to(self.device)
        target = torch.from_numpy(sample[1]).to(self.device, torch.int64)
        target = torch.where(target == IGNORE, -1, target)
        own = ConfusionMatrix(len(self.classes))
        own.update(labels, target)
        self.matrix.merge(own)
        if self.boundary is not None:
            self.boundary.update(labels, target)
        return own.mean_iou() if own.counts.any() else None

    def merge(self, other: SemanticMeter) -> None:
        self.matrix.merge(other.matrix)
        if self.boundary is not None:
            self.boundary.merge(other.boundary)

    def score(self) -> Score | None:
        if not self.matrix.counts.any():
            return None
        figures = {"mIoU": self.matrix.mean_iou(), "pixel accuracy": self.matrix.pixel_accuracy()}
        by_class = {"IoU": self._by_class(self.matrix.iou())}
        facts = {"pixels": self.matrix.counts.sum().item()}
        if self.boundary is not None:
            figures["boundary F1"] = self.boundary.mean()
            by_class["boundary F1"] = self._by_class(self.boundary.per_class())
            facts["boundary tolerance"] = self.boundary.tolerance
        return Score("mIoU", figures, by_class, facts)

    def _by_class(self, values: torch.Tensor) -> dict[str, float | None]:
        return {
            name: None if math.isnan(value) else value
            for name, value in zip(self.classes, values.tolist(), strict=True)
        }
