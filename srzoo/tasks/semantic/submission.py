"""Predictions in the format that the server of a benchmark expects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...files import replacing
from ...labels.street import CITYSCAPES
from ..saving import is_result, mark, save_png
from .result import Segmentation


def official_ids(classes: tuple[str, ...], new_ids: tuple[int, ...] | None = None) -> np.ndarray:
    """The ids that the files of a dataset use for the classes of a model.

    Args:
        classes: of the model.
        new_ids: the model's id of each class of the dataset, if they differ.

    Returns:
        ``(K,)`` uint8. For the 19 classes of Cityscapes, in any order, these are the label ids that its server expects,
        such as 7 for road; for any other classes they are those of the dataset.
    """
    if sorted(classes) != sorted(CITYSCAPES.classes):
        return np.argsort(range(len(classes)) if new_ids is None else new_ids).astype(np.uint8)
    from torchvision.datasets import Cityscapes

    ids = {CITYSCAPES.classes[entry.train_id]: entry.id for entry in Cityscapes.classes if entry.train_id in range(19)}
    return np.array([ids[name] for name in classes], dtype=np.uint8)


class LabelFiles:
    """Writes the labels of each image to a PNG file of `official_ids`; see `srzoo.tasks.task.Export`.

    Args:
        folder: the output folder, which exists when a result is added.
        classes: names of the classes of the model.
        new_ids: as for `official_ids`.

    Raises:
        ValueError: ``folder`` has the name of a JSON file.
    """

    def __init__(self, folder: Path, classes: tuple[str, ...], new_ids: tuple[int, ...] | None = None):
        if folder.suffix.lower() == ".json":
            raise ValueError(
                f"cannot export to {folder}: a semantic model's predictions are one PNG file per image, so choose a "
                f"folder, such as {folder.with_suffix('')}"
            )
        self.folder, self.ids = folder, official_ids(classes, new_ids)

    def paths(self, names: Sequence[str]) -> list[Path]:
        return [self.folder / f"{name}.png" for name in names]

    def is_own(self, path: Path) -> bool:
        return is_result(path)

    def add(self, result: Segmentation, index: int, name: str) -> None:
        write_submission(result.labels, self.ids, *self.paths([name]))

    def merge(self, other: LabelFiles) -> None:
        """Does nothing: `add` has written every file."""

    def finish(self) -> None:
        """Does nothing, like `merge`."""


def write_submission(labels: np.ndarray, ids: np.ndarray, path: Path) -> None:
    """Write labels to an 8-bit gray PNG file, completely or not at all.

    Args:
        labels: ``(H, W)`` class ids.
        ids: ``(K,)`` uint8, the value to write for each class.
        path: the file.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as temporary:
        save_png(Image.fromarray(ids[labels]), temporary, mark())
