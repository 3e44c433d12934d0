"""PASCAL VOC's folders, as CVAT and labelme write them, too: masks of classes, and maybe masks of objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...labels import IGNORE, LabelSet
from ...labels.own import own_labels, spread_colour
from ..class_files import BACKGROUND
from ..files import NoSplit
from ..masks import IdMap, pack, read_mask
from ..objects import Objects, areas_of, found_in
from ..pairing import find_pairs
from ..samples import FilePairs, InstanceData, PairedFiles
from .folder import Folder, classes_of, in_split, meaning

_CLASSES = ("SegmentationClass", "SegmentationClassPNG", "SegmentationClassRaw")
_VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)
_WHITE = 224 << 16 | 224 << 8 | 192  # VOC's outlines


@dataclass
class VocObjects(PairedFiles, InstanceData):
    """A split of images with masks of object ids, and masks of classes that tell the class of each object.

    Attributes:
        class_masks: path of each.
        id_map: from what those store to class ids, 0 for the background.
    """

    PER_IMAGE: ClassVar = ("class_masks",)

    class_masks: list[Path]
    id_map: IdMap

    def objects(self, index: int) -> Objects:
        path = self.pairs[index][1]
        ids = pack(read_mask(path)).astype(np.int64)
        classes = self.id_map(read_mask(self.class_masks[index], self.id_map.has_colours), str(self.class_masks[index]))
        if ids.shape != classes.shape:
            raise ValueError(self.size_mismatch(index, ids, classes.shape))
        kinds = {}
        for id in areas_of(ids):
            inside = np.bincount(classes[ids == id], minlength=256)
            inside[IGNORE] = 0
            if id not in (0, _WHITE) and inside.argmax() > 0:
                kinds[id] = int(inside.argmax()) - 1, False
        return Objects.of(ids.shape, found_in(ids, kinds))


class Voc(Folder):
    name = "voc"
    layout = "JPEGImages/, SegmentationClass/ and maybe SegmentationObject/, ImageSets/Segmentation/ and labelmap.txt"
    tasks = ("semantic", "instance")

    def matches(self, root: Path) -> bool:
        return _base(root) is not None

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs | VocObjects:
        base = _base(root)
        found = find_pairs(base) if base else None
        if not found:
            raise NoSplit(f"{root} has no {_CLASSES[0]}/ with masks of the images in JPEGImages/")
        pairs, unpaired, is_whole = in_split(found, base, split)
        classes = classes_of(found, base)
        labels, id_map, doubts = meaning(classes, pairs) if classes else (_voc_labels(base), None, [])
        if task == "semantic":
            return FilePairs(
                self.name, split, labels, id_map, pairs, unpaired=unpaired, doubts=doubts, is_whole=is_whole
            )
        if labels is None or labels.classes[0].lower() not in BACKGROUND:
            raise ValueError(
                f"{root} does not name its classes, the background first: write labelmap.txt or class_names.txt"
            )
        masks = {image.stem: mask for image, mask in pairs}
        objects, lonely, _ = in_split(find_pairs(base, "objects"), base, split)
        objects = [(image, mask) for image, mask in objects if image.stem in masks and "Object" in mask.parent.name]
        if not objects:
            raise NoSplit(f"{root} has no SegmentationObject/ with masks of objects; its masks are for task 'semantic'")
        things = LabelSet(labels.classes[1:], labels.palette[1:])
        ids = tuple(range(1, len(labels.classes)))
        names, masks = [image.stem for image, _ in objects], [masks[image.stem] for image, _ in objects]
        id_map = id_map or IdMap.identity(len(labels.classes))
        return VocObjects(
            self.name, split, things, ids, names, objects, masks, id_map, unpaired=lonely, is_whole=is_whole
        )


def _base(root: Path) -> Path | None:
    """The folder of SegmentationClass/: the dataset's, or one in it."""
    for pattern in ("", "*/", "*/*/"):
        for name in _CLASSES:
            if found := next(iter(sorted(root.glob(pattern + name))), None):
                return found.parent
    return None


def _voc_labels(base: Path) -> LabelSet | None:
    """VOC's own 20 classes, if the folder is VOC's: it has boxes in Annotations/, too."""
    if not (base / "Annotations").is_dir() or not (base / "ImageSets").is_dir():
        return None
    names = _VOC.split()
    return LabelSet(
        own_labels(names, str(base)).classes, ((0, 0, 0), *(spread_colour(i) for i in range(len(names) - 1)))
    )
