"""The figures of semantic segmentation: mIoU, pixel accuracy and boundary F1."""

from __future__ import annotations

import math

import torch
from PIL import Image

from ...labels import IGNORE
from ...messages import nearest
from ..task import Score
from .boundary import BoundaryF1
from .metrics import ConfusionMatrix
from .pictures import confusion_picture
from .result import Segmentation


def check_classes(names: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Check the names of classes to leave out.

    Raises:
        ValueError: there is no such class, or none is left.
    """
    for name in names:
        if name not in classes:
            raise ValueError(f"leave_out: no class {name!r}{nearest(name, classes)}; they are {', '.join(classes)}")
    if classes and set(names) >= set(classes):
        raise ValueError(f"leave_out names all {len(classes)} classes; leave at least one in the mean")


class SemanticMeter:
    """The meter of semantic segmentation, see `srzoo.tasks.task.Meter`.

    Args:
        classes: class names in order of id.
        device: the device to compare labels on. The counts are on the CPU.
        with_boundary: compute boundary F1 too, which takes longer than everything else.
        leave_out: names of classes that are left out of the means, and have figures of their own still.

    Raises:
        ValueError: there is no such class, or none is left.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        device: torch.device,
        with_boundary: bool = True,
        leave_out: tuple[str, ...] = (),
    ):
        check_classes(leave_out, classes)
        self.counted = torch.tensor([name not in leave_out for name in classes]) if leave_out else None
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
        figure = own.mean_iou(self.counted)
        return None if math.isnan(figure) else figure

    def merge(self, other: SemanticMeter) -> None:
        self.matrix.merge(other.matrix)
        if self.boundary is not None:
            self.boundary.merge(other.boundary)

    def score(self) -> Score | None:
        if not self.matrix.counts.any():
            return None
        matrix = self.matrix
        figures = {"mIoU": matrix.mean_iou(self.counted), "pixel accuracy": matrix.pixel_accuracy()}
        by_class = {"IoU": self._by_class(matrix.iou())}
        for name, values in {"Dice": matrix.dice(), "precision": matrix.precision(), "recall": matrix.recall()}.items():
            by_class[name] = self._by_class(values)
        figures["mean Dice"] = self._mean(matrix.dice())
        facts = {"pixels": self.matrix.counts.sum().item()}
        if self.boundary is not None:
            figures["boundary F1"] = (
                self.boundary.mean() if self.counted is None else self._mean(self.boundary.per_class())
            )
            by_class["boundary F1"] = self._by_class(self.boundary.per_class())
            facts["boundary tolerance"] = self.boundary.tolerance
        return Score("mIoU", figures, by_class, facts)

    def confusion(self) -> Image.Image:
        """The confusion matrix as a picture."""
        return confusion_picture(self.matrix.counts.numpy(), self.classes)

    def _mean(self, values: torch.Tensor) -> float:
        return (values if self.counted is None else values[self.counted]).nanmean().item()

    def _by_class(self, values: torch.Tensor) -> dict[str, float | None]:
        return {
            name: None if math.isnan(value) else value
            for name, value in zip(self.classes, values.tolist(), strict=True)
        }
