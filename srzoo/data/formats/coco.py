"""COCO's JSON annotations: objects, or for semantic segmentation all of them drawn in one mask over a background."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...labels.own import own_labels
from ..files import NoSplit
from ..masks import IdMap
from ..objects import Examined
from ..rle import coder
from ..samples import ImageFiles, SemanticData
from .coco_files import find_objects
from .coco_objects import (
    CocoObjects,
    checked_names,
    coco_objects,
    is_background,
    read_all,
    read_drawn,
    refuse_repeated,
    used_categories,
)
from .coco_records import ImageRecord, Records, read_records
from .format import Format

_BACKGROUND = "background"
_FILES = (
    "annotations/instances_{}2017.json",
    "annotations/instances_{}.json",
    "annotations/{}.json",
    "lvis_v1_{}.json",
)


@dataclass
class CocoMasks(ImageFiles, SemanticData):
    """A split of images with annotations, which are drawn as a mask when it is asked for, smaller ones on top.

    Attributes:
        images: with their annotations.
        class_of: id in the masks for each category's; 0 is the background. None for one that is no class.
        file: the JSON file.
    """

    PER_IMAGE: ClassVar = ("images",)

    images: list[ImageRecord]
    class_of: dict[Hashable, int | None]
    file: Path

    def __len__(self) -> int:
        return len(self.images)

    def image_file(self, index: int) -> Path:
        return self.images[index].path

    def mask(self, index: int) -> np.ndarray:
        return self.examine(index).checked()

    def examine(self, index: int) -> Examined:
        record = self.images[index]
        size = record.height, record.width
        read = partial(read_drawn, size=size, class_of=self.class_of)
        found, errors, warnings = read_all(record.annotations, read, self.target_name(index))
        mask = np.zeros(size, np.uint8)
        # By the areas as drawn: those in the file may be of something else, or missing.
        for class_id, rle in sorted(found, key=lambda each: -int(coder().area(each[1]))):
            mask[coder().decode(rle).astype(bool)] = class_id
        return Examined(mask, errors, warnings)

    def target_name(self, index: int) -> str:
        return f"{self.file}:{self.images[index].path.name}"

    def files(self) -> list[Path]:
        return [*super().files(), self.file]


class Coco(Format):
    name = "coco"
    layout = (
        "annotations/instances_<split>2017.json or annotations/<split>.json with <split>2017/, <split>/ or images/, "
        "or <split>/_annotations.coco.json beside the images, or without splits one JSON file, such as "
        "annotations/instances_default.json or result.json, and images/"
    )
    tasks = ("semantic", "instance")

    def matches(self, root: Path) -> bool:
        return any(find_objects(root, split, _FILES) for split in ("train", "val"))

    def read(self, root: Path, split: str, task: str = "semantic") -> CocoMasks | CocoObjects:
        found = find_objects(root, split, _FILES)
        lacks_val = split != "test" and find_objects(root, "val", _FILES) is None
        taken = found or (find_objects(root, "train", _FILES) if lacks_val else None)
        make = coco_objects if task == "instance" else _coco_masks
        data = make(split, read_records(taken.file, taken.folders), taken.file, self.name) if taken else None
        if data is None or (found is None and len(data) < 2):
            raise NoSplit(f"{root} has no annotations of the split {split!r}: expected {self.layout}")
        data.is_whole = taken.is_whole or (lacks_val and len(data) > 1)
        return data


def _coco_masks(split: str, records: Records, file: Path, format: str) -> CocoMasks:
    """Masks of a file of annotations; raises as `coco_objects`."""
    refuse_repeated(records)
    used = used_categories(records)
    objects = [category for category in used if not is_background(category)]
    # What surrounds the objects is a class, whether the file names it or not.
    names = [_BACKGROUND, *(category.name for category in checked_names(objects, str(file)))]
    class_of = dict.fromkeys(category.id for category in records.categories)
    class_of |= {category.id: 0 for category in used} | {category.id: 1 + i for i, category in enumerate(objects)}
    labels, id_map = own_labels(names, str(file)), IdMap({i: i for i in range(len(names))})
    doubts = list(records.repeated.values())
    return CocoMasks(
        format, split, labels, id_map, records.images, class_of, file, unpaired=records.problems, doubts=doubts
    )
