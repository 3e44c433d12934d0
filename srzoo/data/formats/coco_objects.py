"""The objects in COCO's JSON annotations: a mask, a box and a class each."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from ...labels import LabelSet
from ...labels.coco import COCO_INSTANCE
from ...labels.own import MAX_CLASSES, MAX_OUTPUTS, own_labels
from ...labels.street import FACADE_INSTANCE
from ...messages import and_more, shortened
from ..objects import Examined, FoundObject, Objects
from ..rle import Rle, coder, is_finite, read_segmentation
from ..samples import ImageFiles, InstanceData
from .coco_records import Annotation, Category, ImageRecord, Records, is_id

_BACKGROUND = "background"  # also as __background__, or in capitals
_NO_PARENT = ("none", "", None)  # of the root that Roboflow puts above all other categories

_FITS = 0.5  # intersection over union of a box and the mask's, from which on the box is believed
_NEAR = 2.0  # pixels that they may differ by, however small they are
_OUTSIDE = 1.0  # pixels that a box may reach over the border without a word
_NOTHING = (None, [], {}, "")  # what tools write for an object that they have a box of alone


@dataclass
class CocoObjects(ImageFiles, InstanceData):
    """A split of images with annotated objects.

    Attributes:
        images: with their annotations.
        class_of: class id of each category's; None for one that is no class, see `used_categories`.
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

    def objects(self, index: int) -> Objects:
        return self.examine(index).checked()

    def examine(self, index: int) -> Examined:
        record = self.images[index]
        size = record.height, record.width
        read = partial(read_object, size=size, class_of=self.class_of)
        found, errors, warnings = read_all(record.annotations, read, self.target_name(index))
        return Examined(Objects.of(size, found), errors, warnings)

    def target_name(self, index: int) -> str:
        return f"{self.file}:{self.images[index].path.name}"

    def target_bytes(self, index: int) -> bytes:
        return json.dumps([asdict(each) for each in self.images[index].annotations]).encode()

    def files(self) -> list[Path]:
        return [*super().files(), self.file]


def coco_objects(split: str, records: Records, file: Path, format: str) -> CocoObjects:
    """The objects of a file of annotations.

    Raises:
        ValueError: categories or images cannot be told apart, or there are too many classes or none.
    """
    refuse_repeated(records)
    categories = [each for each in used_categories(records) if not is_background(each)]
    class_of = dict.fromkeys(category.id for category in records.categories)
    class_of |= {category.id: i for i, category in enumerate(categories)}
    return CocoObjects(
        format,
        split,
        named_labels(categories, str(file), most=MAX_OUTPUTS),
        tuple(category.id for category in categories),
        [record.id for record in records.images],
        records.images,
        class_of,
        file,
        unpaired=records.problems,
        doubts=list(records.repeated.values()),
    )


def refuse_repeated(records: Records) -> None:
    """Raises ValueError if ids of categories or images repeat, so that annotations do not tell which they mean."""
    for key in ("categories", "images"):
        if key in records.repeated:
            raise ValueError(f"{records.repeated[key]}; an annotation that names it could mean either")


def used_categories(records: Records) -> list[Category]:
    """Those that are classes: not the root that Roboflow puts above all others, unless an annotation is of it."""
    named = (annotation.category for image in records.images for annotation in image.annotations)
    used = {category for category in named if isinstance(category, Hashable)}
    parents = [_parent(category) for category in records.categories]
    roots = {
        category.id
        for i, category in enumerate(records.categories)
        if parents[i] in _NO_PARENT and category.name in [*parents[:i], *parents[i + 1 :]] and category.id not in used
    }
    return [category for category in records.categories if category.id not in roots]


def _parent(category: Category) -> Any:
    return category.other.get("supercategory")


def is_background(category: Category) -> bool:
    """Whether a category is what surrounds the objects."""
    return isinstance(category.name, str) and category.name.strip("_").lower() == _BACKGROUND


def named_labels(
    categories: list[Category], origin: str, things: tuple[bool, ...] | None = None, most: int = MAX_CLASSES
) -> LabelSet:
    """The labels of categories, in the colours of the file or of a dataset with classes of the same names, if any.

    Raises:
        ValueError: a name is no text, or occurs twice, or there are too many classes or none.
    """
    labels = own_labels([category.name for category in checked_names(categories, origin)], origin, 1, most)
    colours = [category.other.get("color") for category in categories]
    if all(_is_colour(colour) for colour in colours):
        return LabelSet(labels.classes, tuple(tuple(colour) for colour in colours), things)
    known = {each.classes: each.palette for each in (COCO_INSTANCE, FACADE_INSTANCE)}
    return LabelSet(labels.classes, known.get(labels.classes, labels.palette), things)


def checked_names(categories: list[Category], origin: str) -> list[Category]:
    """The categories, if the name of each is text; else raises ValueError."""
    for category in categories:
        if not isinstance(category.name, str):
            id, name = shortened(category.id), shortened(category.name)
            raise ValueError(f"{origin}: category {id} has the name {name}, expected text")
    return categories


def _is_colour(colour: Any) -> bool:
    return (
        isinstance(colour, list) and len(colour) == 3 and all(type(each) is int and 0 <= each < 256 for each in colour)
    )


def read_all(
    annotations: Iterable[Annotation], read: Callable[[Annotation], tuple[Any, list[str]]], where: str
) -> tuple[list, list[str], list[str]]:
    """What each annotation of an image is read as, and errors and notes with its name; ``where`` names the image."""
    found, errors, warnings = [], [], []
    for annotation in annotations:
        name = f"{where}: annotation {shortened(annotation.id)}"
        try:
            each, notes = read(annotation)
        except ValueError as error:
            errors.append(f"{name} {error}")
            continue
        found += [each] if each else []
        warnings += [f"{name} {note}" for note in notes]
    return found, errors, warnings


def read_object(
    annotation: Annotation, size: tuple[int, int], class_of: Mapping[Hashable, int | None]
) -> tuple[FoundObject | None, list[str]]:
    """The object of an annotation.

    Args:
        annotation: as in the file.
        size: ``(H, W)`` of the image.
        class_of: class id of each category's; None for one that is no class.

    Returns:
        The object, or None if it is left out; and a line for what is passed over, to be read after the annotation's
        name.

    Raises:
        ValueError: the category is unknown, or the mask cannot be read.
        ImportError: pycocotools is not installed.
    """
    drawn, notes = read_drawn(annotation, size, class_of)
    if drawn is None:
        return None, notes
    class_id, mask = drawn
    box, note = _box(annotation.bbox, mask, size)
    counted = float(coder().area(mask))
    area = annotation.area if is_finite(annotation.area) and annotation.area > 0 else counted
    found = FoundObject(box, class_id, mask, annotation.is_crowd, float(area), annotation.id)
    return found, [*notes, *([note] if note else [])]


def read_drawn(
    annotation: Annotation, size: tuple[int, int], class_of: Mapping[Hashable, int | None]
) -> tuple[tuple[int, Rle] | None, list[str]]:
    """Class id and mask of an annotation; arguments, notes and errors as of `read_object`.

    An object of which the file has no polygon but a box gets the box as its mask: tools write rectangles so.
    """
    category = annotation.category
    if not is_id(category) or category not in class_of:
        known = and_more([shortened(id) for id in class_of], 12)
        raise ValueError(f"is of category {shortened(category)}, which the file does not list; known: {known}")
    if class_of[category] is None:
        return None, [f"is of category {shortened(category)}, the background or the root of all others; it is left out"]
    mask, notes = _mask(annotation, size)
    if mask is None:
        where = f"the image of {size[1]}x{size[0]}: {_extent(annotation)}"
        return None, [*notes, f"has no pixel in {where}; it is left out"]
    return (class_of[category], mask), notes


def _mask(annotation: Annotation, size: tuple[int, int]) -> tuple[Rle | None, list[str]]:
    segmentation, notes = annotation.segmentation, []
    is_boxed = _is_box(annotation.bbox) and min(annotation.bbox[2:]) > 0
    if segmentation not in _NOTHING or not is_boxed:
        mask, notes = read_segmentation(segmentation, size)
        if not is_boxed or not isinstance(segmentation, list) or len(notes) < len(segmentation):
            return mask, notes
    x0, y0, x1, y1 = _clipped(_corners(annotation.bbox), size)
    box = [x0, y0, x1, y0, x1, y1, x0, y1]
    return read_segmentation([box], size)[0], [*notes, "has a box and no polygon; the box is taken for its mask"]


def _extent(annotation: Annotation) -> str:
    """Where the annotation is, in its own numbers."""
    polygons = [each for each in annotation.segmentation if each] if isinstance(annotation.segmentation, list) else []
    parts = [f"bbox {shortened(annotation.bbox)}"] if annotation.bbox is not None else []
    for name, first in (("x", 0), ("y", 1)) if polygons else ():
        numbers = [number for polygon in polygons for number in polygon[first::2]]
        parts.append(f"{name} from {min(numbers):g} to {max(numbers):g}")
    return ", ".join(parts) or "its run lengths are empty"


def _box(bbox: Any, mask: Rle, size: tuple[int, int]) -> tuple[list[float], str]:
    """The box as corners, the annotated one if it can be right, else that of the mask; and what is wrong with it."""
    drawn = _corners(coder().toBbox(mask).tolist())
    if bbox is None:
        return drawn, ""
    instead = "the mask's box is used instead"
    if not _is_box(bbox):
        return drawn, f"has the bbox {shortened(bbox)}, expected four finite numbers x, y, width, height; {instead}"
    named = f"has the bbox {_rounded(bbox)}"
    if min(bbox[2:]) <= 0:
        return drawn, f"{named} of width {bbox[2]:g} and height {bbox[3]:g}, expected more than 0; {instead}"
    stated = _corners(bbox)
    box = _clipped(stated, size)
    beyond = max(abs(a - b) for a, b in zip(stated, box))
    if min(box[2] - box[0], box[3] - box[1]) < 1:
        return drawn, f"{named}, less than one pixel of the image of {size[1]}x{size[0]}; {instead}"
    if not _fits(box, drawn):
        corners = "; it is x0, y0, x1, y1, expected x, y, width, height" if _fits(bbox, drawn) else ""
        return drawn, f"{named}, but its mask is in {_rounded(_sides(drawn))}{corners}; {instead}"
    if beyond > _OUTSIDE:
        return box, f"{named}, {beyond:g} pixels outside of the image of {size[1]}x{size[0]}; it is cut at the border"
    return box, ""


def _clipped(box: list[float], size: tuple[int, int]) -> list[float]:
    """The part of a box, as corners, in an image of ``size``, ``(H, W)``."""
    limits = [size[1], size[0], size[1], size[0]]
    return [min(max(number, 0), limit) for number, limit in zip(box, limits)]


def _is_box(bbox: Any) -> bool:
    return isinstance(bbox, list) and len(bbox) == 4 and all(is_finite(number) for number in bbox)


def _corners(box: list[float]) -> list[float]:
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


def _sides(box: list[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _rounded(box: list[float]) -> list[float]:
    return [round(number, 2) for number in box]


def _fits(box: list[float], drawn: list[float]) -> bool:
    """Whether two boxes, as corners, are much the same."""
    if max(abs(a - b) for a, b in zip(box, drawn)) <= _NEAR:
        return True
    width, height = (max(0, min(box[i + 2], drawn[i + 2]) - max(box[i], drawn[i])) for i in (0, 1))
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (box, drawn)]
    return width * height >= _FITS * (sum(areas) - width * height)
