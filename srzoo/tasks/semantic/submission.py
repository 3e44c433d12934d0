"""Predictions as the files that a benchmark's server takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ...files import replacing
from ...labels.street import CITYSCAPES


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


def write_submission(labels: np.ndarray, ids: np.ndarray, path: Path) -> None:
    """Write ``(H, W)`` labels as an 8-bit gray PNG of ``ids``, whole or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(ids[labels]).save(temporary, "PNG")
