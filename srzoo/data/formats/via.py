"""VGG Image Annotator (VIA), versions 1 to 3: a JSON file, or a project, of all images in a folder."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...messages import one_line, shortened
from ..shapes import Annotated, Annotation, Polygon, Shape, box, ellipse, flat, number, part_of_file
from .drawn import ImageIndex, ShapesFormat, contain, files_named, peek, read_json, split_in

_USUAL = ("class", "label", "name", "type", "category", "object")  # attributes that name the class
_UNNAMED = "object"
_WITHOUT_AREA = ("point", "polyline", "line")


class Via(ShapesFormat):
    name = "via"
    layout = "the JSON or CSV file of VGG Image Annotator beside the images, for each split or for all"

    def matches(self, root: Path) -> bool:
        return (
            contain(root, ".json", '"regions"', '"shape_attributes"')
            or contain(root, ".json", '"data_format_version"', '"vid_list"')
            or contain(root, ".csv", "region_shape_attributes", "filename")
        )

    def parse(self, root: Path) -> Annotated:
        index, found = ImageIndex(root), Annotated(origin=str(root))
        records = []
        for path in [*files_named(root, ".json"), *files_named(root, ".csv")]:
            try:
                records += [(path, record) for record in _records(path)]
            except ValueError as error:
                found.problems.append(one_line(error))
        attribute = _class_attribute(region for _, record in records for region in _regions(record))
        for path, record in records:
            name = record.get("filename")
            image = index.find(name, path.parent) if isinstance(name, str) else None
            if image is None:
                found.problems.append(f"{path}: no image {shortened(name)}")
                continue
            annotation = Annotation(image, path, split=split_in(image, root))
            for i, region in enumerate(_regions(record)):
                _add(annotation, region, attribute, i)
            if annotation.shapes or annotation.errors or annotation.left_out or not record.get("is_project"):
                found.annotations.append(annotation)
        return found


def _records(path: Path) -> Iterator[dict]:
    if path.suffix.lower() == ".csv":
        yield from _rows(path) if "region_shape_attributes" in peek(path) else ()
        return
    content = read_json(path)
    if isinstance(content, dict) and isinstance(content.get("view"), dict) and isinstance(content.get("file"), dict):
        try:
            content = _of_version_3(content)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a project of VIA 3: {one_line(error)}") from error
    elif isinstance(content, dict) and isinstance(content.get("_via_img_metadata"), dict):
        # A record that is none has no image, and is told as that.
        content = {
            key: {**each, "is_project": True} if isinstance(each, dict) else {"filename": each, "regions": []}
            for key, each in content["_via_img_metadata"].items()
        }
    for record in content.values() if isinstance(content, dict) else ():
        if isinstance(record, dict) and "filename" in record and "regions" in record:
            yield record


# The number of each shape in version 3, and its numbers; number 8 and 9 are 2 and 3, drawn by extreme points.
_SHAPES_3 = {
    1: ("point", ()),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
    5: ("line", ()),
    6: ("polyline", ()),
    8: ("rect", ("x", "y", "width", "height")),
    9: ("circle", ("cx", "cy", "r")),
}


def _of_version_3(content: dict) -> dict[str, dict]:
    """The records of a project of version 3, whose files, views and regions are tables, as those of version 2."""
    attributes, records = content.get("attribute", {}), {}
    for id, view in content["view"].items():
        for file in view["fid_list"]:
            records[id] = {"filename": content["file"][str(file)]["fname"], "regions": [], "is_project": True}
    for region in content.get("metadata", {}).values():
        values = {}
        for key, value in region.get("av", {}).items():
            options = attributes.get(key, {}).get("options") or {}
            first = str(value).split(",")[0]  # a checkbox has several
            values[attributes.get(key, {}).get("aname", key)] = options.get(first, value)
        if region["xy"]:  # else it is a time
            shape = _shape_3(*region["xy"])
            records[str(region["vid"])]["regions"].append({"shape_attributes": shape, "region_attributes": values})
    return records


def _shape_3(number: int, *values: float) -> dict:
    if number == 7:
        return {"name": "polygon", "all_points_x": values[::2], "all_points_y": values[1::2]}
    name, keys = _SHAPES_3[number]
    return {"name": name, **dict(zip(keys, values))}


def _rows(path: Path) -> Iterator[dict]:
    by_name: dict[str, list] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                regions = by_name.setdefault(row.get("filename") or row["#filename"], [])
                shape = json.loads(row["region_shape_attributes"] or "{}")
                if shape:
                    attributes = json.loads(row["region_attributes"] or "{}")
                    regions.append({"shape_attributes": shape, "region_attributes": attributes})
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise ValueError(f"{path} is not VIA's CSV: {one_line(error)}") from error
    yield from ({"filename": name, "regions": regions} for name, regions in by_name.items())


def _regions(record: dict) -> list:
    regions = record["regions"]
    return [*regions.values()] if isinstance(regions, dict) else regions if isinstance(regions, list) else []


def _class_attribute(regions: Iterable[Any]) -> str | None:
    """The attribute that most regions have, one of the usual names first."""
    count = Counter()
    for region in regions:
        attributes = region.get("region_attributes") if isinstance(region, dict) else None
        count.update(key for key, value in attributes.items() if value) if isinstance(attributes, dict) else None
    usual = [key for key in count if key.lower() in _USUAL]
    return max(usual or count, key=lambda key: (count[key], -_rank(key)), default=None)


def _rank(key: str) -> int:
    return _USUAL.index(key.lower()) if key.lower() in _USUAL else len(_USUAL)


def _label(region: dict, attribute: str | None) -> str:
    attributes = region.get("region_attributes")
    value = attributes.get(attribute) if isinstance(attributes, dict) and attribute else None
    if isinstance(value, dict):  # a checkbox: the first that is ticked
        value = next((key for key, ticked in value.items() if ticked), None)
    return value.strip() if isinstance(value, str) and value.strip() else _UNNAMED


def _add(annotation: Annotation, region: Any, attribute: str | None, i: int) -> None:
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    kind = shape.get("name") if isinstance(shape, dict) else None
    if kind in _WITHOUT_AREA:
        annotation.left_out[kind] += 1
        return
    try:
        with part_of_file(region):
            outline = _outline(kind, shape)
    except ValueError as error:
        annotation.errors.append(f"{annotation.file}:{annotation.image.name}: region {i} {one_line(error)}")
        return
    annotation.shapes.append(Shape(_label(region, attribute), outline, None, i, kind == "rect"))


def _outline(kind: Any, shape: Any) -> Polygon:
    if kind == "polygon":
        x, y = shape["all_points_x"], shape["all_points_y"]
        if len(x) != len(y):
            raise ValueError(f"has {len(x)} x but {len(y)} y")
        return Polygon([flat(list(zip(x, y)))])
    if kind == "rect":
        x, y, width, height = (number(shape[key]) for key in ("x", "y", "width", "height"))
        return box(x, y, x + width, y + height)
    if kind == "circle":
        return ellipse(number(shape["cx"]), number(shape["cy"]), number(shape["r"]), number(shape["r"]))
    if kind == "ellipse":
        x, y, rx, ry = (number(shape[key]) for key in ("cx", "cy", "rx", "ry"))
        return ellipse(x, y, rx, ry, number(shape.get("theta", 0)) * 57.29577951308232)
    raise ValueError(f"is a {shortened(kind)}, expected polygon, rect, circle or ellipse")
