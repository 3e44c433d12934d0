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
from .objects import FoundObject, InstanceSample, Objects
from .rle import coder, encode
from .samples import ImageData, InstanceData, SemanticData, SemanticSample

_IMAGE_KEYS, _MASK_KEYS = ("image", "pixel_values", "img"), ("mask", "label", "labels", "target", "annotation")


@dataclass
class OwnItems(ImageData):
    """A split whose items come from an object with ``len()`` and indices.

    Attributes:
        source: item ``i`` is ``(image, annotation)``, or a dict with them. An image is anything that
            `srzoo.images.as_image` takes, or `srzoo.data.bands.as_bands` for another number of channels than three.
        indices: of the items that belong to the split.
    """

    PER_IMAGE: ClassVar = ("indices",)
    ANNOTATION: ClassVar[str]  # what it is called, in messages and as the first of its keys
    KEYS: ClassVar[tuple[str, ...]]  # of the annotation in a dict

    source: Any = field(repr=False, kw_only=True)
    indices: list[int] = field(repr=False, kw_only=True)

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, index: int) -> np.ndarray:
        return self._image(self._item(index)[0], index)

    def image_name(self, index: int) -> str:
        return f"item {self.indices[index]} of {self.split}"

    def target_name(self, index: int) -> str:
        return f"{self.image_name(index)}: {self.ANNOTATION}"

    def files(self) -> list[Path]:
        return []

    def identity(self) -> dict[str, object]:
        """That of the task's data; what stands in for the names of files says nothing of an item's content."""
        numbers = hashlib.sha256(str(self.indices).encode()).hexdigest()
        return {**super().identity(), "names_sha256": numbers}

    def _item(self, index: int) -> tuple[Any, Any]:
        item = self.source[self.indices[index]]
        if isinstance(item, Mapping):
            found = [next((item[key] for key in keys if key in item), None) for keys in (_IMAGE_KEYS, self.KEYS)]
            if found[0] is None or found[1] is None:
                raise ValueError(
                    f"{self.image_name(index)} has the keys {', '.join(map(str, item))}; expected 'image' and "
                    f"{self.ANNOTATION!r}"
                )
            return found[0], found[1]
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise ValueError(
                f"{self.image_name(index)} is a {type(item).__name__}; expected (image, {self.ANNOTATION}), or a dict "
                "of them"
            )
        return item[0], item[1]

    def _image(self, image: Any, index: int) -> np.ndarray:
        try:
            return np.array(as_image(image)) if self.channels == RGB else as_bands(image, self.channels)
        except ValueError as error:
            raise ValueError(f"{self.image_name(index)}: {error}") from error


@dataclass
class OwnData(OwnItems, SemanticData):
    """Masks of class ids: a Pillow image, array or tensor each, ``(H, W)`` or ``(1, H, W)``.

    Attributes:
        void: the value of unlabelled pixels in masks.
    """

    ANNOTATION: ClassVar = "mask"
    KEYS: ClassVar = _MASK_KEYS

    void: int = field(kw_only=True)

    def __getitem__(self, index: int) -> SemanticSample:
        image, mask = self._item(index)
        sample = SemanticSample(self._image(image, index), self._in_order(self._ids(mask, index)))
        if sample.image.shape[:2] != sample.ids.shape:
            raise ValueError(self.size_mismatch(index, sample.image, sample.ids.shape))
        return sample

    def mask(self, index: int) -> np.ndarray:
        return self._mask(self._item(index)[1], index)

    def ids(self, index: int) -> np.ndarray:
        return self._ids(self._item(index)[1], index)

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
        values = _array(mask)
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


@dataclass
class OwnObjects(OwnItems, InstanceData):
    """Objects as torchvision's detectors take them: a dict of arrays or tensors for each image.

    These are "masks" ``(N, H, W)``, of 0 and 1; "labels" ``(N,)``, from 1 for the first class on, as 0 is the
    background; and maybe "iscrowd" ``(N,)``. A box is that of its mask, so "boxes" are not read.
    """

    ANNOTATION: ClassVar = "target"
    KEYS: ClassVar = ("target", "annotation")

    def __getitem__(self, index: int) -> InstanceSample:
        image, target = self._item(index)
        sample = InstanceSample(self._image(image, index), self._in_order(self._objects(target, index)))
        if sample.image.shape[:2] != sample.objects.size:
            raise ValueError(self.size_mismatch(index, sample.image, sample.objects.size))
        return sample

    def objects(self, index: int) -> Objects:
        return self._objects(self._item(index)[1], index)

    def target_bytes(self, index: int) -> bytes:
        objects = self.objects(index)
        parts = (repr(objects.size).encode(), objects.classes.tobytes(), objects.crowd.tobytes())
        return b"".join((*parts, *(mask["counts"] for mask in objects.masks)))

    def _objects(self, target: Any, index: int) -> Objects:
        name = self.target_name(index)
        if not isinstance(target, Mapping) or not {"masks", "labels"} <= target.keys():
            found = ", ".join(map(str, target)) if isinstance(target, Mapping) else f"a {type(target).__name__}"
            raise ValueError(f"{name} is {found or 'empty'}; expected a dict with 'masks' and 'labels'")
        masks, labels = _array(target["masks"]), _array(target["labels"])
        crowd = _array(target.get("iscrowd", np.zeros(labels.shape[:1]))).astype(bool)
        if masks.ndim != 3 or {labels.shape, crowd.shape} != {(len(masks),)}:
            raise ValueError(
                f"{name} has masks of shape {masks.shape}, labels of {labels.shape} and iscrowd of {crowd.shape}; "
                "expected (N, H, W), (N,) and (N,)"
            )
        if not ((masks == 0) | (masks == 1)).all():
            raise ValueError(f"{name} has masks with values from {masks.min()} to {masks.max()}; expected 0 and 1")
        classes = len(self.labels.classes)
        wrong = labels[~np.isin(labels, np.arange(1, classes + 1))]
        if len(wrong):
            raise ValueError(
                f"{name} has the label {wrong[0]}; expected 1 to {classes}, the classes in order; 0 is the background"
            )
        drawn = np.flatnonzero(masks.any((1, 2)))
        rles = [encode(masks[i] == 1) for i in drawn]
        boxes = coder().toBbox(rles).reshape(-1, 4) if rles else np.zeros((0, 4))
        boxes[:, 2:] += boxes[:, :2]
        areas = [float(coder().area(rle)) for rle in rles]
        kept = zip(boxes.tolist(), labels[drawn].astype(int) - 1, rles, crowd[drawn], areas, drawn.tolist())
        return Objects.of(masks.shape[1:], [FoundObject(*each) for each in kept])


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor, recognized without importing torch
        values = values.detach().cpu().numpy()
    return np.asarray(values)


def own_data(
    source: Any, split: str, task: str, labels: LabelSet, void: int = IGNORE, channels: int = RGB
) -> ImageData:
    """A user's dataset as a split; one of srzoo's is returned unchanged.

    Args:
        source: has ``len()`` and indices, see `OwnData` and `OwnObjects`.
        split: "train", "val" or "test".
        task: of the model.
        labels: names and colours of the classes.
        void: the value of unlabelled pixels in masks.
        channels: of the images.

    Raises:
        ValueError: it has no length, no indices or no items, the task is panoptic, or ``void`` is the id of a class.
    """
    if isinstance(source, ImageData):
        return source
    check_own_task(task)
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        annotation = (OwnData if task == "semantic" else OwnObjects).ANNOTATION
        raise ValueError(
            f"{split} is a {type(source).__name__} without len() and indices; pass a dataset whose item i is "
            f"(image, {annotation}), not a DataLoader or an iterable"
        )
    if not len(source):
        raise ValueError(f"{split} has no items")
    classes, indices = len(labels.classes), list(range(len(source)))
    items = {"source": source, "indices": indices, "channels": channels}
    if task == "instance":
        return OwnObjects("own", split, labels, tuple(range(1, classes + 1)), indices, **items)
    if not isinstance(void, Integral) or isinstance(void, bool) or 0 <= void < classes:
        raise ValueError(f"void={void!r} must be a whole number that is no class; those are 0 to {classes - 1}")
    return OwnData("own", split, labels, IdMap.identity(classes), void=int(void), **items)


def check_own_task(task: str) -> None:
    """Check that own datasets are read for this task.

    Raises:
        ValueError: it is that of panoptic models.
    """
    if task not in ("semantic", "instance"):
        raise ValueError(
            f"own datasets are for semantic and instance models; one of task {task!r} takes the path of a folder"
        )


def check_own(splits: Mapping[str, ImageData], count: int = 16) -> None:
    """Read some items of each split, to find errors before a long run.

    Raises:
        ValueError: an item cannot be read; or no item of a split has a labelled pixel, or an object.
    """
    for split, data in splits.items():
        read = min(count, len(data))
        samples = [data[i * len(data) // read] for i in range(read)]
        if read < len(data):
            continue
        if isinstance(data, SemanticData) and all((sample.ids == IGNORE).all() for sample in samples):
            raise ValueError(f"no pixel of {split} has a class: every one is void")
        if isinstance(data, InstanceData) and not any(len(sample.objects) for sample in samples):
            raise ValueError(f"no item of {split} has an object")
