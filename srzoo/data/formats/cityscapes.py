"""Cityscapes (fine annotations) with torchvision's table of its classes, nineteen of which the benchmark counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...labels import IGNORE
from ...labels.street import CITYSCAPES, CITYSCAPES_IDS, CITYSCAPES_INSTANCE, CITYSCAPES_PANOPTIC
from ..files import NoSplit, files_by_stem, pair
from ..masks import IdMap, read_object_ids
from ..objects import Objects, Segment, areas_of, found_in
from ..samples import FilePairs, InstanceData, PairedFiles, PanopticData
from .format import Format

_THING_IDS = CITYSCAPES_IDS[-len(CITYSCAPES_INSTANCE.classes) :]
_LABELS, _TRAINED = "_gtFine_labelIds", "_gtFine_labelTrainIds"
_MAX_ID = 33  # of the classes in the files; the licence plate, -1, is not drawn
_OBJECTS = 1000  # an object is of class id // 1000; of a kind of objects, smaller ids are groups


@dataclass
class CityscapesObjects(PairedFiles, InstanceData):
    """A split of images with files of object ids."""

    def objects(self, index: int) -> Objects:
        ids = _read(self.pairs[index][1])
        kinds = {
            id: (_THING_IDS.index(_class_of(id)), id < _OBJECTS) for id in areas_of(ids) if _class_of(id) in _THING_IDS
        }
        return Objects.of(ids.shape, found_in(ids, kinds))


@dataclass
class CityscapesSegments(PairedFiles, PanopticData):
    """A split of images with files of object ids, which are those of the segments, too."""

    def segments(self, index: int) -> tuple[np.ndarray, list[Segment]]:
        ids = _read(self.pairs[index][1])
        segments = [
            Segment(id, CITYSCAPES_IDS.index(_class_of(id)), id in _THING_IDS, area)
            for id, area in areas_of(ids).items()
            if _class_of(id) in CITYSCAPES_IDS
        ]
        kept = np.zeros(ids.max() + 1, bool)
        kept[[segment.id for segment in segments]] = True
        ids[~kept[ids]] = 0
        return ids, segments


def _class_of(id: int) -> int:
    return id // _OBJECTS if id >= _OBJECTS else id


def _read(path: Path) -> np.ndarray:
    """``(H, W)`` int32 ids of objects, and ids of classes where there are none."""
    ids = read_object_ids(path).astype(np.int32)
    unknown = np.where(ids >= _OBJECTS, ids // _OBJECTS, ids) > _MAX_ID
    if unknown.any():
        raise ValueError(
            f"{path}: the id {ids[unknown][0]} is of no class, expected ids of classes up to {_MAX_ID}, or 1000 times "
            "that and a number"
        )
    return ids


class Cityscapes(Format):
    name = "cityscapes"
    layout = "leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/"
    tasks = ("semantic", "instance", "panoptic")

    def matches(self, root: Path) -> bool:
        return (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir()

    def read(
        self, root: Path, split: str, task: str = "semantic"
    ) -> FilePairs | CityscapesObjects | CityscapesSegments:
        folders = root / "leftImg8bit" / split, root / "gtFine" / split
        if not all(folder.is_dir() for folder in folders):
            raise NoSplit(f"{root} has no folders leftImg8bit/{split} and gtFine/{split}")
        ending = _LABELS if task == "semantic" else "_gtFine_instanceIds"
        id_map = _id_map()
        if task == "semantic" and not _has(folders[1], _LABELS) and _has(folders[1], _TRAINED):
            ending, id_map = _TRAINED, IdMap({i: i for i in [*range(len(CITYSCAPES.classes)), IGNORE]})
        if not _has(folders[1], ending) and _has(folders[1], "_gtFine_polygons"):
            raise ValueError(
                f"{folders[1]} has polygons alone, without *{ending}.png: write those with cityscapesScripts, "
                "csCreateTrainIdLabelImgs for classes or csCreateTrainIdInstanceImgs for objects"
            )
        pairs, unpaired = pair(*map(_by_city, folders, ("_leftImg8bit", ending)))
        if task == "semantic":
            return FilePairs(self.name, split, CITYSCAPES, id_map, pairs, unpaired=unpaired)
        names = [image.stem.removesuffix("_leftImg8bit") for image, _ in pairs]
        if task == "instance":
            labels, ids, data = CITYSCAPES_INSTANCE, _THING_IDS, CityscapesObjects
        else:
            labels, ids, data = CITYSCAPES_PANOPTIC, CITYSCAPES_IDS, CityscapesSegments
        return data(self.name, split, labels, ids, names, pairs, unpaired=unpaired)


def _has(folder: Path, ending: str) -> bool:
    """Whether there is a file of this ending in a folder of cities."""
    return next(folder.glob(f"*/*{ending}.*"), None) is not None


def _id_map() -> IdMap:
    """From the ids in the label files to those of the nineteen classes."""
    from torchvision.datasets import Cityscapes as Torchvision

    # Class -1, the licence plate, is not drawn in these files.
    return IdMap({c.id: IGNORE if c.ignore_in_eval else c.train_id for c in Torchvision.classes if c.id >= 0})


def _by_city(folder: Path, suffix: str) -> dict[str, Path]:
    """The files of a split by the name of their city and frame.

    Not as torchvision's dataset lists them: it stops at a .DS_Store, and ignores a mask without an image.
    """
    cities = [city for city in sorted(folder.iterdir()) if city.is_dir() and not city.name.startswith(".")]
    return {f"{city.name}/{name}": path for city in cities for name, path in files_by_stem(city, suffix).items()}
