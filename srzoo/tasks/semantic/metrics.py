"""Segmentation metrics from a confusion matrix over the whole split."""

import torch


class ConfusionMatrix:
    """Confusion matrix of a split.

    Args:
        num_classes: number of classes ``K``.

    Attributes:
        counts: ``(K, K)`` int64 on the CPU, indexed ``[target, prediction]``.
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        """Add the pixels of an image or a batch.

        Args:
            prediction: class ids of any shape, dtype and device.
            target: class ids of the same shape. Pixels whose id is not in ``0..K - 1`` are ignored.

        Raises:
            ValueError: the shapes differ.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
        target = target.flatten().long()
        valid = (target >= 0) & (target < self.num_classes)
        cells = target[valid] * self.num_classes + prediction.flatten().long()[valid]
        self.counts += torch.bincount(cells, minlength=self.num_classes**2).view_as(self.counts).cpu()

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add the counts of another matrix."""
        self.counts += other.counts

    def iou(self) -> torch.Tensor:
        """``(K,)`` float64: intersection over union of each class; NaN for a class that does not occur."""
        hit = self.counts.diag().double()
        return hit / (self.counts.sum(0) + self.counts.sum(1) - hit)

    def dice(self) -> torch.Tensor:
        """``(K,)`` float64: Dice coefficient of each class, which is its F1; NaN for a class that does not occur."""
        return 2 * self.counts.diag().double() / (self.counts.sum(0) + self.counts.sum(1))

    def precision(self) -> torch.Tensor:
        """``(K,)`` float64: share of the pixels predicted as a class that are right; NaN if none is predicted."""
        return self.counts.diag().double() / self.counts.sum(0)

    def recall(self) -> torch.Tensor:
        """``(K,)`` float64: share of the pixels of a class that are found; NaN for a class without pixels."""
        return self.counts.diag().double() / self.counts.sum(1)

    def mean_iou(self, counted: torch.Tensor | None = None) -> float:
        """Mean IoU over the classes that occur in targets or predictions; NaN without any.

        ``counted`` is ``(K,)`` bool: which classes are part of the mean; None for all.
        """
        iou = self.iou()
        return (iou if counted is None else iou[counted]).nanmean().item()

    def pixel_accuracy(self) -> float:
        """Fraction of the labelled pixels whose prediction is right; 0 without any."""
        return self.counts.diag().sum().item() / max(1, self.counts.sum().item())
