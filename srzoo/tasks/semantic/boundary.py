"""Boundary F1: how well outlines are met, which IoU hardly sees."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

TOLERANCE = 0.0075
_VOID = -1
_BLOCK = 1 << 22  # comparisons at a time: bounds the memory of a large image


class BoundaryF1:
    """Boundary F1 of Csurka et al. (2013), "What is a good evaluation measure for semantic segmentation?".

    The boundary of a class is its pixels with one of another class above, below, left or right of them. Precision is
    the share of the predicted boundary that lies closer than ``tolerance`` to the annotated one of the same class,
    recall the share of the annotated boundary that lies as close to the predicted one, F1 their harmonic mean. A
    class's figure is the mean over the images in which either boundary exists, the split's the mean over classes.

    Unlabelled pixels belong to no class in the prediction either, and what borders on them is no boundary.

    Args:
        num_classes: number of classes.
        tolerance: fraction of the image's diagonal; the paper's is 0.75 %.
    """

    def __init__(self, num_classes: int, tolerance: float = TOLERANCE):
        self.num_classes, self.tolerance = num_classes, tolerance
        self.total = torch.zeros(num_classes, dtype=torch.float64)
        self.images = torch.zeros(num_classes, dtype=torch.int64)

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        """Add one image: ``(H, W)`` labels, below 0 in ``target`` where there are none."""
        if prediction.dim() != 2 or prediction.shape != target.shape:
            raise ValueError(f"expected two (H, W) maps, got {tuple(prediction.shape)} and {tuple(target.shape)}")
        height, width = target.shape
        reach = self.tolerance * (height**2 + width**2) ** 0.5
        found, wanted = (_boundary(labels.long(), target >= 0) for labels in (prediction, target))
        hits, points = zip(*(self._count(a, b, reach) for a, b in ((found, wanted), (wanted, found))))
        exists = (points[0] + points[1]) > 0
        precision, recall = (hit / point.clamp(min=1) for hit, point in zip(hits, points))
        self.total += 2 * precision * recall / (precision + recall).clamp(min=1e-12)
        self.images += exists

    def merge(self, other: BoundaryF1) -> None:
        """Add the images that another one has counted."""
        self.total += other.total
        self.images += other.images

    def per_class(self) -> torch.Tensor:
        """F1 of each class, float64; NaN for one without a boundary."""
        return self.total / self.images

    def mean(self) -> float:
        """Mean over the classes that have a boundary."""
        return self.per_class().nanmean().item()

    def _count(self, boundary: torch.Tensor, other: torch.Tensor, reach: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Per class: points of ``boundary`` that have one of ``other`` closer than ``reach``, and all its points."""
        classes = boundary[boundary != _VOID]
        near = classes[_is_near(boundary, other, reach)]
        hits, points = (ids.bincount(minlength=self.num_classes).double().cpu() for ids in (near, classes))
        return hits, points


def _boundary(labels: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The labels where they are boundary, void elsewhere."""
    labels = labels.where(valid, _VOID)
    is_boundary = torch.zeros_like(valid)
    for axis in (0, 1):
        length = labels.shape[axis] - 1
        before, after = labels.narrow(axis, 0, length), labels.narrow(axis, 1, length)
        differs = (before != after) & (before != _VOID) & (after != _VOID)
        for start in (0, 1):
            is_boundary.narrow(axis, start, length).logical_or_(differs)
    return labels.where(is_boundary, _VOID)


def _is_near(boundary: torch.Tensor, other: torch.Tensor, reach: float) -> torch.Tensor:
    """For each point of ``boundary`` whether ``other`` has its class closer than ``reach``.

    Boundaries are few pixels, so every pixel of the disk around each of them is looked at.
    """
    radius = math.ceil(reach) - 1
    side = torch.arange(-radius, radius + 1, device=other.device)
    other = F.pad(other, (radius,) * 4, value=_VOID)
    disk = (side[:, None] * other.shape[1] + side)[side[:, None] ** 2 + side**2 < reach**2]
    rows, columns = (boundary != _VOID).nonzero(as_tuple=True)
    centres = (rows + radius) * other.shape[1] + columns + radius
    other, ids = other.flatten(), boundary[rows, columns]
    parts = zip(*(values.split(max(1, _BLOCK // len(disk))) for values in (centres, ids)))
    return torch.cat([(other[centre[:, None] + disk] == own[:, None]).any(1) for centre, own in parts])
