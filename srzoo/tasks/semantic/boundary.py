"""Boundary F1: how well the outlines of classes are found, which has little effect on IoU."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

TOLERANCE = 0.0075  # of the image's diagonal
_VOID = -1  # label of pixels that are unlabelled, or not on a boundary
_BLOCK = 1 << 22  # pixels compared at a time, which bounds the memory for a large image


class BoundaryF1:
    """Boundary F1 of Csurka et al. (2013), "What is a good evaluation measure for semantic segmentation?".

    The boundary of a class is the set of its pixels that have a pixel of another class above, below, left or right.
    Precision is the fraction of the predicted boundary that is closer than ``tolerance`` to the annotated boundary of
    the same class. Recall is the fraction of the annotated boundary that is that close to the predicted one. F1 is
    their harmonic mean. The figure of a class is its mean over the images in which either boundary exists; the figure
    of the split is the mean over classes.

    Unlabelled pixels are ignored in the prediction, too. A pixel is not on a boundary because of an unlabelled
    neighbour.

    Args:
        num_classes: number of classes.
        tolerance: a distance as a fraction of the diagonal of the image; 0.75 % in the paper of Csurka et al.
    """

    def __init__(self, num_classes: int, tolerance: float = TOLERANCE):
        self.num_classes, self.tolerance = num_classes, tolerance
        self.total = torch.zeros(num_classes, dtype=torch.float64)
        self.images = torch.zeros(num_classes, dtype=torch.int64)

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        """Add one image.

        Args:
            prediction: ``(H, W)`` class ids of any dtype.
            target: ``(H, W)`` class ids, negative for unlabelled pixels.

        Raises:
            ValueError: the two are not 2-D, or differ in shape.
        """
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
        """Add the images of another instance."""
        self.total += other.total
        self.images += other.images

    def per_class(self) -> torch.Tensor:
        """``(num_classes,)`` float64: F1 of each class; NaN for a class without a boundary."""
        return self.total / self.images

    def mean(self) -> float:
        """F1 over the classes that have a boundary; NaN if none has."""
        return self.per_class().nanmean().item()

    def _count(self, boundary: torch.Tensor, other: torch.Tensor, reach: float) -> tuple[torch.Tensor, torch.Tensor]:
        """For each class: the points of ``boundary`` that are closer than ``reach`` to ``other``, and all points."""
        classes = boundary[boundary != _VOID]
        near = classes[_is_near(boundary, other, reach)]
        hits, points = (ids.bincount(minlength=self.num_classes).double().cpu() for ids in (near, classes))
        return hits, points


def _boundary(labels: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The labels on boundaries, `_VOID` elsewhere: the row ``0 0 0 1 1 2`` becomes ``- - 0 1 1 2``."""
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
    """For each point of ``boundary``, in row-major order: is ``other`` of the same class closer than ``reach``?

    Boundaries have few pixels, so each compares its class with all pixels of ``other`` in a disk around it. Maps are
    flattened: in a padded map of width ``w``, pixel ``(y, x)`` is ``y * w + x``, and ``disk`` holds ``dy * w + dx`` for
    each offset in the disk. For 300x400 pixels the reach is 3.75, the radius 3, and the disk has 45 pixels.
    """
    radius = math.ceil(reach) - 1
    side = torch.arange(-radius, radius + 1, device=other.device)
    other = F.pad(other, (radius,) * 4, value=_VOID)
    disk = (side[:, None] * other.shape[1] + side)[side[:, None] ** 2 + side**2 < reach**2]
    rows, columns = (boundary != _VOID).nonzero(as_tuple=True)
    centres = (rows + radius) * other.shape[1] + columns + radius  # (points,)
    other, ids = other.flatten(), boundary[rows, columns]
    parts = zip(*(values.split(max(1, _BLOCK // len(disk))) for values in (centres, ids)))
    # (points, 1) + (disk,): all pixels around all points of a block.
    return torch.cat([(other[centre[:, None] + disk] == own[:, None]).any(1) for centre, own in parts])
