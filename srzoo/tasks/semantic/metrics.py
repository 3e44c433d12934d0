"""Segmentation metrics from one confusion matrix over the whole split."""

import torch


class ConfusionMatrix:
    """int64 counts ``[target, prediction]`` of a split; pixels whose target is no class are left out."""

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        """Count labels of equal shape and any integer dtype."""
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
        """Intersection over union of each class, float64; NaN for one that is in neither."""
        hit = self.counts.diag().double()
        return hit / (self.counts.sum(0) + self.counts.sum(1) - hit)

    def mean_iou(self) -> float:
        """Mean over the classes that occur."""
        return self.iou().nanmean().item()

    def pixel_accuracy(self) -> float:
        return self.counts.diag().sum().item() / max(1, self.counts.sum().item())
