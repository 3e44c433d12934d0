"""COCO's panoptic format: a JSON file with the segments of each image, and a PNG with the id of each pixel's segment.

https://cocodataset.org/#format-data: a pixel (R, G, B) is of the segment R + 256 G + 65536 B, and 0 is void. For
semantic segmentation the class of a pixel is that of its segment.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ...images import ImageError, opened
from ...labels import IGNORE, LabelSet
from ...messages import and_more, shortened, visible
from ..files import NoSplit
from ..masks import LOSSY, IdMap
from ..objects import Examined, Segment, areas_of
from ..samples import ImageFiles, PanopticData, SemanticData
from .coco_files import ImageFinder, find_annotations
from .coco_objects import named_labels, refuse_repeated
from .coco_records import Category, ImageRecord, flag_of, is_id, read_flag, read_records
from .format import Format

_FILES = ("annotations/panoptic_{}2017.json", "annotations/panoptic_{}.json")
_MAX_ID = (1 << 24) - 1
_SHOWN = 5  # ids that a message lists


class SegmentedImage(NamedTuple):
    """The annotation of an image: the name of its PNG file, and the records of its segments, not checked."""

    file_name: str
    records: list


@dataclass
class CocoSegments(ImageFiles, PanopticData):
    """A split of images with a PNG file of ids each.

    Attributes:
        images: with one `SegmentedImage` each.
        class_of: class id of each category's.
        file: the JSON file.
        folder: that of the PNG files.
    """

    PER_IMAGE: ClassVar = ("images",)

    images: list[ImageRecord]
    class_of: dict[Hashable, int]
    file: Path
    folder: Path

    def __len__(self) -> int:
        return len(self.images)

    def image_file(self, index: int) -> Path:
        return self.images[index].path

    def segments(self, index: int) -> tuple[np.ndarray, list[Segment]]:
        return self.examine(index).checked()

    def classes_in(self, index: int) -> set[int]:
        """Those in the JSON file: reading the PNG files of a large set takes minutes."""
        return {each.class_id for each in self._in_order(self._listed(index)[0])}

    def examine(self, index: int) -> Examined:
        where = self.target_name(index)
        try:
            ids = read_ids(self._png(index))
        except ImageError as error:
            return Examined(None, [str(error)], [])
        areas = areas_of(ids)
        areas.pop(0, None)
        segments, errors = self._listed(index)
        listed = {segment.id for segment in segments}
        warnings = []
        if not errors:
            errors += _unlisted(areas, listed)
            warnings += self._passed_over(segments, areas)
        kept = [segment._replace(area=areas[segment.id]) for segment in segments if segment.id in areas]
        return Examined((ids, kept), *([f"{where}: {line}" for line in lines] for lines in (errors, warnings)))

    def _listed(self, index: int) -> tuple[list[Segment], list[str]]:
        """The segments in the JSON file, their areas not yet counted, and what is wrong with them."""
        segments, errors = {}, []
        for i, record in enumerate(self._annotation(index).records):
            try:
                segment = self._segment(record, f"segments_info[{i}]")
            except ValueError as error:
                errors.append(str(error))
                continue
            if segment.id in segments:
                errors.append(f"segment {segment.id} is there twice in segments_info; ids must differ")
            segments[segment.id] = segment
        return list(segments.values()), errors

    def _segment(self, record: Any, where: str) -> Segment:
        if not isinstance(record, dict):
            raise ValueError(f"{where} is {shortened(record)}, expected a record with 'id' and 'category_id'")
        id, category = record.get("id"), record.get("category_id")
        if isinstance(id, float) and id.is_integer():  # as pandas writes a column with gaps
            id = int(id)
        if type(id) is not int or not 0 < id <= _MAX_ID:
            raise ValueError(f"{where} has the id {shortened(id)}, expected a whole number from 1 to {_MAX_ID}")
        if not is_id(category) or category not in self.class_of:
            found, known = shortened(category), and_more([shortened(each) for each in self.class_of], 12)
            raise ValueError(f"segment {id} is of category {found}, which the file does not list; known: {known}")
        return Segment(id, self.class_of[category], read_flag(record, "iscrowd", f"segment {id}"), 0)

    def _passed_over(self, segments: list[Segment], areas: dict[int, int]) -> list[str]:
        lines = []
        absent = [str(segment.id) for segment in segments if segment.id not in areas]
        if absent:
            lines.append(f"segments {and_more(absent, _SHOWN)} of segments_info have no pixel; they are left out")
        surfaces = Counter(
            each.class_id for each in segments if each.id in areas and not self.labels.things[each.class_id]
        )
        lines += [
            f"{count} segments of {self.labels.classes[class_id]!r}, which is no thing, expected 1; a model finds one"
            for class_id, count in surfaces.items()
            if count > 1
        ]
        return lines

    def _annotation(self, index: int) -> SegmentedImage:
        return self.images[index].annotations[0]

    def _png(self, index: int) -> Path:
        find, name = ImageFinder([self.folder]), self._annotation(index).file_name
        return find(name) or Path(find.expected(name))

    def target_name(self, index: int) -> str:
        return str(self._png(index))

    def target_bytes(self, index: int) -> bytes:
        return self._png(index).read_bytes() + json.dumps(self._annotation(index).records).encode()

    def files(self) -> list[Path]:
        return [*super().files(), *(Path(self.target_name(index)) for index in range(len(self))), self.file]


@dataclass
class CocoClasses(ImageFiles, SemanticData):
    """The same split for semantic segmentation.

    Attributes:
        segmented: its images with their segments.
    """

    segmented: CocoSegments

    def __len__(self) -> int:
        return len(self.segmented)

    def image_file(self, index: int) -> Path:
        return self.segmented.image_file(index)

    def target_name(self, index: int) -> str:
        return self.segmented.target_name(index)

    def files(self) -> list[Path]:
        return self.segmented.files()

    def select(self, indices: Sequence[int]) -> CocoClasses:
        return replace(self, segmented=self.segmented.select(indices))

    def mask(self, index: int) -> np.ndarray:
        return self.examine(index).checked()

    def examine(self, index: int) -> Examined:
        found, errors, warnings = self.segmented.examine(index)
        return Examined(found and _classes_of(*found), errors, warnings)


def _classes_of(ids: np.ndarray, segments: list[Segment]) -> np.ndarray:
    """``(H, W)`` uint8 class ids, 255 for void, of a map of ids of segments."""
    known = np.array(sorted((segment.id, segment.class_id) for segment in segments), np.int32).reshape(-1, 2)
    known = np.concatenate([[(0, IGNORE)], known])
    places = np.searchsorted(known[:, 0], ids).clip(max=len(known) - 1)
    return np.where(known[places, 0] == ids, known[places, 1], IGNORE).astype(np.uint8)


def read_ids(path: Path) -> np.ndarray:
    """``(H, W)`` int32 ids of segments in a PNG file.

    Raises:
        ImageError: it cannot be read, or is no RGB image, or compressed with losses.
    """
    with opened(path) as image:
        if image.format in LOSSY:
            raise ImageError(f"{path}: ids as {image.format}, which changes them; they must be PNG")
        if image.mode not in ("RGB", "RGBA", "P"):
            raise ImageError(f"{path}: an image of mode {image.mode}, expected RGB with ids R + 256 G + 65536 B")
        pixels = np.array(image.convert("RGB"))
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return red | green << 8 | blue << 16


def _unlisted(areas: dict[int, int], listed: set[int]) -> list[str]:
    """What is wrong if there are pixels of segments that are not listed."""
    unknown = [id for id in areas if id not in listed]
    if not unknown:
        return []
    pixels = sum(areas[id] for id in unknown)
    text = f"{pixels} pixels have ids that segments_info does not list: {and_more([str(id) for id in unknown], _SHOWN)}"
    if {id >> 16 | id & 0xFF00 | (id & 0xFF) << 16 for id in areas} <= listed:
        return [f"{text}; red and blue are swapped, as OpenCV writes them: store R + 256 G + 65536 B"]
    return [text]


class CocoPanoptic(Format):
    name = "coco_panoptic"
    layout = (
        "annotations/panoptic_<split>2017.json or annotations/panoptic_<split>.json, a folder of PNG files of the same "
        "name beside it, and <split>2017/, <split>/ or images/"
    )
    tasks = ("semantic", "panoptic")

    def matches(self, root: Path) -> bool:
        return any(find_annotations(root, split, _FILES) for split in ("train", "val"))

    def read(self, root: Path, split: str, task: str = "semantic") -> CocoSegments | CocoClasses:
        found = find_annotations(root, split, _FILES)
        if found is None:
            raise NoSplit(f"{root} has no annotations of the split {split!r}: expected {self.layout}")
        folder = _png_folder(root, found.file)
        records = read_records(found.file, found.folders, _segmented_image)
        refuse_repeated(records)
        images, unpaired = _paired(records.images, found.file)
        labels = named_labels(records.categories, str(found.file), _things(records.categories, found.file))
        segmented = CocoSegments(
            self.name,
            split,
            labels,
            tuple(category.id for category in records.categories),
            [record.id for record in images],
            images,
            {category.id: i for i, category in enumerate(records.categories)},
            found.file,
            folder,
            unpaired=[*records.problems, *unpaired],
        )
        if task == "panoptic":
            return segmented
        id_map = IdMap({**{i: i for i in range(len(labels.classes))}, IGNORE: IGNORE})
        labels = LabelSet(labels.classes, labels.palette)
        return CocoClasses(self.name, split, labels, id_map, segmented, unpaired=segmented.unpaired)


def _png_folder(root: Path, file: Path) -> Path:
    folders = file.with_suffix(""), root / file.stem
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise NoSplit(f"{file} has no folder of PNG files: expected {folders[0]}")
    return folder


def _segmented_image(record: dict, where: str) -> SegmentedImage:
    name, segments = record.get("file_name"), record.get("segments_info")
    if not isinstance(name, str):
        raise ValueError(f"{where} has file_name {shortened(name)}, expected the name of a PNG file")
    if not isinstance(segments, list):
        raise ValueError(f"{where} ({visible(name)}) has no list 'segments_info'")
    return SegmentedImage(name, segments)


def _paired(images: list[ImageRecord], file: Path) -> tuple[list[ImageRecord], list[str]]:
    """The images with one annotation, and a line for each of the others."""
    unpaired = [
        f"{visible(str(image.path))} has {len(image.annotations) or 'no'} annotations in {file.name}, expected 1"
        for image in images
        if len(image.annotations) != 1
    ]
    return [image for image in images if len(image.annotations) == 1], unpaired


def _things(categories: list[Category], file: Path) -> tuple[bool, ...]:
    flags = [flag_of(category.other.get("isthing")) for category in categories]
    for category, flag in zip(categories, flags):
        if flag is None:
            is_thing = category.other.get("isthing")
            found = "no 'isthing'" if is_thing is None else f"isthing {shortened(is_thing)}"
            raise ValueError(
                f"{file}: category {category.id!r}, {category.name!r}, has {found}; add 'isthing': 1 to each category "
                "of countable objects, and 'isthing': 0 to each kind of surface"
            )
    return tuple(flags)
