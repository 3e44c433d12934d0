"""COCO's JSON annotations: polygons and run lengths drawn as masks, pixels under none of them as "background"."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...images import is_turned_unseen, read_image
from ...labels.own import own_labels
from ..files import SPLIT_NAMES, NoSplit
from ..masks import IdMap
from ..samples import SegmentationData

LAYOUT = (
    "annotations/instances_<split>2017.json or annotations/<split>.json with <split>2017/, <split>/ or images/, "
    "or <split>/_annotations.coco.json beside the images"
)

BACKGROUND = "background"
_FILES = ("annotations/instances_{}2017.json", "annotations/instances_{}.json", "annotations/{}.json")
_FOLDERS = ("{}2017", "images/{}2017", "{}", "images/{}", "images")
_BESIDE = "{}/_annotations.coco.json"


@dataclass
class CocoMasks(SegmentationData):
    """A split of images with the annotations of each, which are drawn when asked for.

    Attributes:
        images: path, width and height of each.
        annotations: those of each image, larger ones first.
        class_of: id in the masks for each category; 0 is the background.
        file: the JSON file.
    """

    images: list[tuple[Path, int, int]]
    annotations: list[list[dict]]
    class_of: dict[int, int]
    file: Path

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        return np.array(read_image(self.images[index][0]))

    def mask(self, index: int) -> np.ndarray:
        _, width, height = self.images[index]
        mask = np.zeros((height, width), np.uint8)
        for annotation in self.annotations[index]:
            try:
                mask[_draw(annotation["segmentation"], height, width)] = self.class_of[annotation["category_id"]]
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{self.mask_name(index)}: annotation {annotation.get('id')} is neither a polygon nor run lengths "
                    f"of a known category ({type(error).__name__}: {error})"
                ) from error
        return mask

    def is_turned_unseen(self, index: int) -> bool:
        with Image.open(self.images[index][0]) as image:
            return is_turned_unseen(image)

    def image_name(self, index: int) -> str:
        return str(self.images[index][0])

    def mask_name(self, index: int) -> str:
        return f"{self.file}:{self.images[index][0].name}"


def matches(root: Path) -> bool:
    return any(_find(root, split) for split in ("train", "val"))


def read(root: Path, split: str) -> CocoMasks:
    found = _find(root, split)
    if found is None:
        raise NoSplit(f"{root} has no annotations of the split {split!r}: expected {LAYOUT}")
    file, folder = found
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        by_name = sorted(content["categories"], key=lambda category: category["id"])
        categories = [category for category in by_name if category["name"] != BACKGROUND]
        by_image = defaultdict(list)
        for annotation in sorted(content["annotations"], key=lambda each: -(each.get("area") or 0)):
            by_image[annotation["image_id"]].append(annotation)
        listed = {record["id"] for record in content["images"]}
        lost = [annotation["image_id"] for annotation in content["annotations"] if annotation["image_id"] not in listed]
        records = sorted(content["images"], key=lambda record: record["file_name"])
        missing = [record["file_name"] for record in records if not (folder / record["file_name"]).is_file()]
        records = [record for record in records if record["file_name"] not in set(missing)]
        images = [(folder / record["file_name"], int(record["width"]), int(record["height"])) for record in records]
        annotations = [by_image[record["id"]] for record in records]
        empty = next((path for path, width, height in images if width < 1 or height < 1), None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is not COCO's JSON ({type(error).__name__}: {error})") from error
    if empty is not None:
        raise ValueError(f"{file} has a width or height below 1 for {empty.name}; expected sizes in pixels")
    class_of = {category["id"]: 0 for category in by_name} | {
        category["id"]: 1 + i for i, category in enumerate(categories)
    }
    labels = own_labels([BACKGROUND, *(category["name"] for category in categories)], str(file))
    unpaired = [f"{folder / name} is in {file.name}, but there is no such file" for name in missing]
    if lost:
        unpaired.append(
            f"{len(lost)} annotations of {file} are of images that it does not list, the first of {lost[0]!r}; an "
            "image_id must equal the id of one of its images"
        )
    id_map = IdMap({i: i for i in range(len(labels.classes))})
    return CocoMasks("coco", split, labels, id_map, images, annotations, class_of, file, unpaired=unpaired)


def _find(root: Path, split: str) -> tuple[Path, Path] | None:
    """The JSON file of a split and the folder of its images."""
    for name in SPLIT_NAMES[split]:
        beside = root / _BESIDE.format(name)
        if beside.is_file():
            return beside, beside.parent
        for file in (root / pattern.format(name) for pattern in _FILES):
            if file.is_file():
                folders = [folder for pattern in _FOLDERS if (folder := root / pattern.format(name)).is_dir()]
                return file, (folders or [root])[0]
    return None


def _draw(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    """``(H, W)`` bool of polygons ``[[x0, y0, x1, ...], ...]`` or of run lengths."""
    try:
        from pycocotools import mask as rle
    except ModuleNotFoundError as error:
        raise RuntimeError("COCO's format needs the package 'pycocotools': pip install 'srzoo[data]'") from error
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        runs = segmentation  # already compressed
    else:
        try:
            runs = rle.frPyObjects(segmentation, height, width)
        except Exception as error:  # of that very type
            raise ValueError(str(error)) from error
    return rle.decode(rle.merge(runs) if isinstance(runs, list) else runs).astype(bool)
