"""The images that a model does worst on, as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..distributed import gather
from ..files import replacing
from ..tasks.semantic.metrics import ConfusionMatrix
from ..tasks.semantic.pictures import comparison
from ..zoo.config import ModelConfig
from .evaluation import Prediction, Samples


class WorstImages:
    """Keeps the labels of the ``count`` images of lowest mIoU, each over the classes that occur in it."""

    def __init__(self, count: int, num_classes: int):
        if count < 0:
            raise ValueError(f"the number of worst images must be 0 or more, got {count}")
        self.count, self.num_classes = count, num_classes
        self.found: list[tuple[float, int, np.ndarray]] = []  # mIoU, index, labels

    def update(self, prediction: Prediction) -> None:
        matrix = ConfusionMatrix(self.num_classes)
        matrix.update(prediction.labels, prediction.target)
        if matrix.counts.any():
            self._keep([(matrix.mean_iou(), prediction.index, prediction.labels.cpu().numpy())])

    def gather(self) -> None:
        """Take the other processes' images into account, in every process."""
        everyone = gather(self.found)
        self.found = []
        for found in everyone:
            self._keep(found)

    def _keep(self, more: list[tuple[float, int, np.ndarray]]) -> None:
        self.found = sorted([*self.found, *more], key=lambda entry: entry[:2])[: self.count]

    def write(self, folder: Path, dataset: Samples, names: list[str], config: ModelConfig) -> list[Path]:
        """Write ``<place>_miou<percent>_<name>.png`` as `comparison` draws it; returns the paths.

        Args:
            folder: exists.
            dataset: that was evaluated.
            names: of its images.
            config: of the model, for the colours.
        """
        paths = []
        for place, (miou, index, labels) in enumerate(self.found, 1):
            paths.append(folder / f"{place:02d}_miou{100 * miou:04.1f}_{names[index]}.png")
            image, target = dataset[index]
            picture = comparison(Image.fromarray(image), target, labels, config.palette)
            with replacing(paths[-1]) as temporary:
                picture.save(temporary, "PNG")
        return paths
