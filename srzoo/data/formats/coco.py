"""COCO's JSON annotations: objects, or for semantic segmentation all of them drawn in one mask over a background."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...labels.own import own_labels
from ..files import NoSplit
from ..masks import IdMap
from ..rle import coder
from ..samples import ImageFiles, SemanticData
from .coco_files import find_objects
from .coco_objects import BACKGROUND, CocoObjects, coco_objects
from .coco_records import Category, ImageRecord, Records, read_records
from .format import Format

_FILES = ("annotations/instances_{}2017.json", "annotations/instances_{}.json", "annotations/{}.json")


@dataclass
class CocoMasks(ImageFiles, SemanticData):
    """A split of images with annotations, which are drawn as a mask when it is asked for, smaller ones on top.

    Attributes:
        images: with their annotations.
        class_of: id in the masks for each category's; 0 is the background.
        file: the JSON file.
    """

    PER_IMAGE: ClassVar = ("images",)

    images: list[ImageRecord]
    class_of: dict[int, int]
    file: Path

    def __len__(self) -> int:
        return len(self.images)

    def image_file(self, index: int) -> Path:
        return self.images[index].path

    def mask(self, index: int) -> np.ndarray:
        record = self.images[index]
        mask = np.zeros((record.height, record.width), np.uint8)
        for annotation in sorted(record.annotations, key=lambda each: -(each.area or 0)):
            try:
                mask[_draw(annotation.segmentation, *mask.shape)] = self.class_of[annotation.category]
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{self.target_name(index)}: annotation {annotation.id} is neither a polygon nor run lengths "
                    f"of a known category ({type(error).__name__}: {error})"
                ) from error
        return mask

    def target_name(self, index: int) -> str:
        return f"{self.file}:{self.images[index].path.name}"

    def files(self) -> list[Path]:
        return [*super().files(), self.file]


class Coco(Format):
    name = "coco"
    layout = (
        "annotations/instances_<split>2017.json or annotations/<split>.json with <split>2017/, <split>/ or images/, "
        "or <split>/_annotations.coco.json beside the images, or annotations/instances_default.json and images/ "
        "without splits"
    )
    tasks = ("semantic", "instance")

    def matches(self, root: Path) -> bool:
        return any(find_objects(root, split, _FILES) for split in ("train", "val"))

    def read(self, root: Path, split: str, task: str = "semantic") -> CocoMasks | CocoObjects:
        found = find_objects(root, split, _FILES)
        if found is None:
            raise NoSplit(f"{root} has no annotations of the split {split!r}: expected {self.layout}")
        make = coco_objects if task == "instance" else _coco_masks
        data = make(split, read_records(found.file, found.folder), found.file, self.name)
        data.is_whole = found.is_whole
        return data


def _coco_masks(split: str, records: Records, file: Path, format: str) -> CocoMasks:
    names, class_of = _classes(records.categories)
    labels = own_labels(names, str(file))
    id_map = IdMap({i: i for i in range(len(names))})
    return CocoMasks(format, split, labels, id_map, records.images, class_of, file, unpaired=records.problems)


def _classes(categories: list[Category]) -> tuple[list[str], dict[int, int]]:
    """The classes' names, the background first, and the class id of each category; one may be the background."""
    objects = [category for category in categories if category.name != BACKGROUND]
    class_of = {category.id: 0 for category in categories} | {category.id: 1 + i for i, category in enumerate(objects)}
    return [BACKGROUND, *(category.name for category in objects)], class_of


def _draw(segmentation: list | dict | None, height: int, width: int) -> np.ndarray:
    """``(H, W)`` bool of polygons ``[[x0, y0, x1, ...], ...]`` in pixels, or of run lengths.

    Raises:
        ValueError, TypeError, KeyError, IndexError: it is neither.
        RuntimeError: pycocotools is not installed.
    """
    rle = coder()
    if segmentation is None:
        raise KeyError("segmentation")
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        runs = segmentation  # already compressed
    else:
        try:
            runs = rle.frPyObjects(segmentation, height, width)
        except Exception as error:  # pycocotools raises bare exceptions
            raise ValueError(str(error)) from error
    return rle.decode(rle.merge(runs) if isinstance(runs, list) else runs).astype(bool)
