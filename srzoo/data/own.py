"""A user's own dataset, such as a ``torch.utils.data.Dataset``, as a split that training and evaluation read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..images import as_image
from ..labels import IGNORE, LabelSet
from .bands import RGB, as_bands
from .masks import IdMap
from .samples import ImageData, SemanticData, SemanticSample

_IMAGE_KEYS, _MASK_KEYS = ("image", "pixel_values", "img"), ("mask", "label", "labels", "target", "annotation")


@dataclass
class OwnData(SemanticData):
    """A split whose items come from an object with ``len()`` and indices.

    Attributes:
        source: item ``i`` is ``(image, mask)``, or a dict with them as "image" and "mask". An image is anything that
            `srzoo.images.as_image` takes, or `srzoo.data.bands.as_bands` for another number of channels than three. A
            mask is a Pillow image, array or tensor of class ids, ``(H, W)`` or ``(1, H, W)``.
        void: the value of unlabelled pixels in masks.
        indices: of the items that belong to the split.
    """

    PER_IMAGE: ClassVar = ("indices",)

    source: Any = field(repr=False)
    void: int
    indices: list[int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> SemanticSample:
        image, mask = self._item(index)
        sample = SemanticSample(self._image(image, index), self._in_order(self._ids(mask, index)))
        if sample.image.shape[:2] != sample.ids.shape:
            raise ValueError(self.size_mismatch(index, sample.image, sample.ids.shape))
        return sample

    def image(self, index: int) -> np.ndarray:
        return self._image(self._item(index)[0], index)

    def mask(self, index: int) -> np.ndarray:
        return self._mask(self._item(index)[1], index)

    def ids(self, index: int) -> np.ndarray:
        return self._ids(self._item(index)[1], index)

    def image_name(self, index: int) -> str:
        return f"item {self.indices[index]} of {self.split}"

    def target_name(self, index: int) -> str:
        return f"{self.image_name(index)}: mask"

    def files(self) -> list[Path]:
        return []

    def identity(self) -> dict[str, object]:
        """That of `SemanticData`; what stands in for the names of files says nothing of an item's content."""
        numbers = hashlib.sha256(str(self.indices).encode()).hexdigest()
        return {**super().identity(), "names_sha256": numbers}

    def _item(self, index: int) -> tuple[Any, Any]:
        item = self.source[self.indices[index]]
        if isinstance(item, Mapping):
            found = [next((item[key] for key in keys if key in item), None) for keys in (_IMAGE_KEYS, _MASK_KEYS)]
            if found[0] is None or found[1] is None:
                raise ValueError(
                    f"{self.image_name(index)} has the keys {', '.join(map(str, item))}; expected 'image' and 'mask'"
                )
            return found[0], found[1]
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise ValueError(
                f"{self.image_name(index)} is a {type(item).__name__}; expected (image, mask), or a dict of them"
            )
        return item[0], item[1]

    def _image(self, image: Any, index: int) -> np.ndarray:
        try:
            return np.array(as_image(image)) if self.channels == RGB else as_bands(image, self.channels)
        except ValueError as error:
            raise ValueError(f"{self.image_name(index)}: {error}") from error

    def _ids(self, mask: Any, index: int) -> np.ndarray:
        values, classes = self._mask(mask, index), len(self.labels.classes)
        unknown = (values != IGNORE) & ((values < 0) | (values >= classes))
        if unknown.any():
            raise ValueError(
                f"{self.target_name(index)} has the id {values[unknown][0]}, and the {classes} classes are "
                f"0 to {classes - 1}, with {self.void} for void; pass void=, or map the ids in the dataset"
            )
        return values.astype(np.uint8)

    def _mask(self, mask: Any, index: int) -> np.ndarray:
        """``(H, W)`` int64, with 255 for void."""
        if hasattr(mask, "detach"):  # a tensor, recognized without importing torch
            mask = mask.detach().cpu().numpy()
        values = np.asarray(mask)
        if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
            values = values[0] if values.shape[0] == 1 else values[:, :, 0]
        is_whole = np.issubdtype(values.dtype, np.integer) or values.dtype == bool
        if np.issubdtype(values.dtype, np.floating) and np.array_equal(values, np.rint(values)):
            is_whole = True
        if values.ndim != 2 or not is_whole:
            raise ValueError(
                f"{self.target_name(index)} has shape {values.shape} and dtype {values.dtype}; expected whole class "
                "ids of shape (H, W)"
            )
        values = values.astype(np.int64)
        return np.where(values == self.void, IGNORE, values)


def own_data(
    source: Any, split: str, task: str, labels: LabelSet, void: int = IGNORE, channels: int = RGB
) -> ImageData:
    """A user's dataset as a split; one of srzoo's is returned unchanged.

    Args:
        source: has ``len()`` and indices, see `OwnData`.
        split: "train", "val" or "test".
        task: of the model.
        labels: names and colours of the classes.
        void: the value of unlabelled pixels in masks.
        channels: of the images.

    Raises:
        ValueError: it has no length, no indices or no items, the task is another than semantic segmentation, or
            ``void`` is the id of a class.
    """
    if isinstance(source, ImageData):
        return source
    if task != "semantic":
        raise ValueError(f"an own dataset is (image, mask) for semantic models, and this one is for task {task!r}")
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        raise ValueError(
            f"{split} is a {type(source).__name__} without len() and indices; pass a dataset whose item i is "
            "(image, mask), not a DataLoader or an iterable"
        )
    if not len(source):
        raise ValueError(f"{split} has no items")
    classes = len(labels.classes)
    if not isinstance(void, Integral) or isinstance(void, bool) or 0 <= void < classes:
        raise ValueError(f"void={void!r} must be a whole number that is no class; those are 0 to {classes - 1}")
    indices = list(range(len(source)))
    return OwnData("own", split, labels, IdMap.identity(classes), source, int(void), indices, channels=channels)


def check_own(splits: Mapping[str, ImageData], count: int = 16) -> None:
    """Read some items of each split, to find errors before a long run.

    Raises:
        ValueError: an item cannot be read; or none of those read in a split has a labelled pixel.
    """
    for split, data in splits.items():
        read = min(count, len(data))
        masks = [data[i * len(data) // read].ids for i in range(read)]
        if read == len(data) and all((ids == IGNORE).all() for ids in masks):
            raise ValueError(f"no pixel of {split} has a class: every one is void")
