"""The records in a file of COCO's JSON annotations, for any task: categories, and images with their annotations."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...images import MAX_PIXELS
from ...messages import shortened, visible
from .coco_files import ImageFinder

_FLAGS = {0: False, 1: True, "0": False, "1": True}  # True and 1.0 are 1, too


class Category(NamedTuple):
    """A class, under the id that annotations refer to it by.

    Attributes:
        id: as in the file.
        name: as in the file.
        other: all that the file says about it; not checked.
    """

    id: Hashable
    name: str
    other: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Annotation:
    """An object in an image.

    Attributes:
        id: its own, as in the file, or None.
        category: id of its category, not checked to exist.
        segmentation: polygons ``[[x0, y0, x1, ...], ...]`` in pixels, or run lengths; not checked.
        bbox: ``[x, y, width, height]`` in pixels, or None; not checked.
        area: in pixels, or None.
        is_crowd: whether it is a group of objects rather than one.
    """

    id: Hashable
    category: Hashable
    segmentation: list | dict | None
    bbox: list | None
    area: float | None
    is_crowd: bool


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image file, its id and size in pixels, and its annotations in the order of the file."""

    id: Hashable
    path: Path
    width: int
    height: int
    annotations: list


@dataclass(frozen=True, slots=True)
class Records:
    """What a file of annotations contains.

    Attributes:
        categories: in order of id.
        images: in order of file name, without those whose file does not exist.
        problems: a line for each image without a file, and one for annotations without an image.
        repeated: a line for each of "categories", "images" and "annotations" with ids that are there more than
            once, and for "file names".
    """

    categories: list[Category]
    images: list[ImageRecord]
    problems: list[str]
    repeated: dict[str, str]


def read_annotation(record: dict, where: str) -> Annotation:
    """One record of "annotations"; ``where`` names it in the error.

    Raises:
        ValueError: the area is no number.
    """
    return Annotation(
        id=record.get("id"),
        category=record.get("category_id"),
        segmentation=record.get("segmentation"),
        bbox=record.get("bbox"),
        area=_area(record, where),
        is_crowd=read_flag(record, "iscrowd", where),
    )


def read_flag(record: dict, key: str, where: str) -> bool:
    """A value that is 0 or 1, maybe as text; 0 if it is not there.

    Raises:
        ValueError: it is something else.
    """
    value = record.get(key)
    flag = False if value is None else flag_of(value)
    if flag is None:
        raise ValueError(f"{where} has {key} {shortened(value)}, expected 0 or 1")
    return flag


def flag_of(value: Any) -> bool | None:
    """What 0 or 1, maybe as text, says; None of anything else."""
    return _FLAGS.get(value) if isinstance(value, Hashable) else None


def read_records(file: Path, folders: Sequence[Path], read: Callable[[dict, str], Any] = read_annotation) -> Records:
    """Parse a JSON file whose images are in one of ``folders``.

    Args:
        file: the JSON file.
        folders: where images may be, the usual place first, see `ImageFinder`.
        read: makes an annotation of its record, given the words that name the record in an error.

    Raises:
        ValueError: the file is not COCO's JSON; the message names the record and the key.
    """
    try:
        content = json.loads(file.read_bytes())  # finds out the encoding
        categories = _categories(content)
        by_image = {_id(record, "id", f"images[{i}]"): [] for i, record in enumerate(_section(content, "images"))}
        lost = _share_out(_section(content, "annotations"), by_image, read)
        images, problems = _images(content["images"], file, ImageFinder(folders), by_image)
    except ValueError as error:
        raise ValueError(f"{file} is not COCO's JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{file} is not COCO's JSON: its lists are nested too deep") from error
    if lost:
        problems.append(
            f"{len(lost)} annotations of {file} are of images that it does not list, the first of "
            f"{shortened(lost[0])}; an image_id must equal the id of one of its images"
        )
    return Records(categories, images, problems, _repeated(content, file))


def _repeated(content: dict, file: Path) -> dict[str, str]:
    lines = {}
    names = [
        name for name, count in Counter(_file_name(record, "") for record in content["images"]).items() if count > 1
    ]
    if names:
        lines["file names"] = f"{file}: {len(names)} images are listed more than once, the first {visible(names[0])}"
    for key in ("categories", "images", "annotations"):
        ids = [id for record in content[key] if isinstance(id := record.get("id"), Hashable) and id is not None]
        twice = [id for id, count in Counter(ids).items() if count > 1]
        if twice:
            first = shortened(twice[0])
            lines[key] = f"{file}: {len(twice)} ids of its {key!r} are there more than once, the first {first}"
    return lines


def _categories(content) -> list[Category]:
    categories = [
        Category(_id(record, "id", f"categories[{i}]"), _value(record, "name", f"categories[{i}]"), record)
        for i, record in enumerate(_section(content, "categories"))
    ]
    try:
        return sorted(categories, key=lambda category: category.id)
    except TypeError:
        ids = [category.id for category in categories]
        raise ValueError(f"the ids of its categories are of several types: {shortened(ids, 200)}") from None


def _share_out(records: list, by_image: dict[Hashable, list], read: Callable[[dict, str], Any]) -> list[Hashable]:
    """Append each annotation to the list of its image; the ids of images that are not there."""
    lost = []
    for i, record in enumerate(records):
        where = f"annotations[{i}]"
        image = _id(record, "image_id", where)
        annotation = read(record, where)
        if image in by_image:
            by_image[image].append(annotation)
        else:
            lost.append(image)
    return lost


def _images(records: list, file: Path, find: ImageFinder, by_image: dict) -> tuple[list[ImageRecord], list[str]]:
    """The images whose file exists, and a line for each of the others."""
    images, problems = [], []
    named = sorted((_file_name(record, f"images[{i}]"), i) for i, record in enumerate(records))
    names_of: dict[Path, set[str]] = defaultdict(set)
    for name, _ in named:
        if (path := find(name)) is not None:
            names_of[path].add(name)
    for name, i in named:
        record, where, path = records[i], f"images[{i}]", find(name)
        if path is None:
            problems.append(f"{visible(find.expected(name))} is in {file.name}, but there is no such file")
        elif len(names_of[path]) > 1:
            problems.append(f"{path} could be {len(names_of[path])} images of {file.name}, {shortened(name)} for one")
        else:
            width, height = _side(record, "width", where), _side(record, "height", where)
            if width * height > MAX_PIXELS:
                size = shortened(width * height)
                raise ValueError(f"{where} ({visible(name)}) has {size} pixels, expected at most {MAX_PIXELS:,}")
            images.append(ImageRecord(record["id"], path, width, height, by_image[record["id"]]))
    return images, problems


def _section(content, key: str) -> list:
    records = _value(content, key, "it")
    if not isinstance(records, list):
        found = "null" if records is None else f"of type {type(records).__name__}"
        raise ValueError(f"its {key!r} is {found}, expected a list")
    return records


def _value(record, key: str, where: str):
    if not isinstance(record, dict) or key not in record:
        raise ValueError(f"{where} has no {key!r}")
    return record[key]


def _id(record, key: str, where: str) -> Hashable:
    value = _value(record, key, where)
    if not is_id(value):
        raise ValueError(f"{where} has {key} {shortened(value)}, expected a finite number or text")
    return value


def is_id(value: Any) -> bool:
    """Whether a value can be the id of a category or an image: a number that JSON can hold, or text.

    True would be the same key as 1, and NaN is not even equal to itself.
    """
    return type(value) in (int, str) or (type(value) is float and math.isfinite(value))


def _file_name(record, where: str) -> str:
    is_of_lvis = isinstance(record, dict) and "file_name" not in record and "coco_url" in record
    name = _value(record, "coco_url" if is_of_lvis else "file_name", where)
    if not isinstance(name, str):
        raise ValueError(f"{where} has file_name {shortened(name)}, expected text")
    return name


def _side(record: dict, key: str, where: str) -> int:
    value = _value(record, key, where)
    try:
        side = int(value)
    except (ValueError, TypeError, OverflowError):
        side = 0
    if side < 1:
        raise ValueError(
            f"{where} ({visible(_file_name(record, where))}) has {key} {shortened(value)}, expected 1 or more pixels"
        )
    return side


def _area(record: dict, where: str) -> float | None:
    area = record.get("area") or None
    if not isinstance(area, (int, float, type(None))):
        raise ValueError(f"{where} has area {shortened(area)}, expected a number of pixels")
    return area
