"""Predictions as the files that a benchmark's server takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...files import replacing
from ...labels.street import CITYSCAPES
from .result import Segmentation


def official_ids(classes: tuple[str, ...]) -> np.ndarray:
    """``(K,)`` uint8: the id in a dataset's own files of each class of the model.

    For Cityscapes' 19 classes the label ids that its server asks for (7 is road); any other classes keep their
    order.
    """
    if classes != CITYSCAPES.classes:
        return np.arange(len(classes), dtype=np.uint8)
    from torchvision.datasets import Cityscapes

    ids = {entry.train_id: entry.id for entry in Cityscapes.classes}
    return np.array([ids[i] for i in range(len(classes))], dtype=np.uint8)


class LabelFiles:
    """Writes the labels of each image as a PNG of `official_ids`; see `srzoo.tasks.task.Export`.

    Args:
        folder: exists.
        classes: the model's.
    """

    def __init__(self, folder: Path, classes: tuple[str, ...]):
        self.folder, self.ids = folder, official_ids(classes)

    def paths(self, names: Sequence[str]) -> list[Path]:
        return [self.folder / f"{name}.png" for name in names]

    def add(self, result: Segmentation, name: str) -> None:
        write_submission(result.labels, self.ids, *self.paths([name]))

    def merge(self, other: LabelFiles) -> None:
        """Nothing: every file was written when it was added."""

    def finish(self) -> None:
        """Nothing, too."""


def write_submission(labels: np.ndarray, ids: np.ndarray, path: Path) -> None:
    """Write ``(H, W)`` labels as an 8-bit gray PNG of ``ids``, whole or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(ids[labels]).save(temporary, "PNG")
