"""Label Studio's JSON and JSON-MIN: polygons, boxes, ellipses and brush strokes, in percent of the image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import numpy as np

from ...images import MAX_PIXELS
from ...messages import one_line, shortened
from ...web import parts_of
from ..shapes import Annotated, Annotation, Bitmap, Polygon, Shape, box, ellipse, flat, number, part_of_file, turned
from .drawn import ImageIndex, ShapesFormat, contain, files_named, read_json, split_in

_WORDS = ('"from_name"', '"polygonlabels"', '"brushlabels"', '"rectanglelabels"', '"ellipselabels"')
_WITHOUT_AREA = ("keypoint", "vector", "relation")


class LabelStudio(ShapesFormat):
    name = "label_studio"
    layout = "the JSON file of Label Studio, and the images in any folder"

    def matches(self, root: Path) -> bool:
        return any(contain(root, ".json", word) for word in _WORDS)

    def parse(self, root: Path) -> Annotated:
        index, found, several = ImageIndex(root), Annotated(origin=str(root)), 0
        for path in files_named(root, ".json"):
            try:
                content = read_json(path)
            except ValueError as error:
                found.problems.append(one_line(error))
                continue
            for place, task in enumerate(content if isinstance(content, list) else [content]):
                if not isinstance(task, dict):
                    continue
                name, results, count = _task(task)
                if name is None:
                    continue
                several += count > 1
                image = index.find(_path(name), path.parent)
                if image is None:
                    found.problems.append(f"{path}: task {task.get('id', place)}: no image {shortened(name)}")
                elif count:
                    annotation = Annotation(image, path, split=split_in(image, root))
                    _add(annotation, results, f"{path}:{image.name}")
                    found.annotations.append(annotation)
        if several:
            found.doubts.append(f"{several} tasks have several annotations, of which the first is read")
        return found


def _task(task: dict) -> tuple[str | None, list, int]:
    """The name of a task's image, its results, and the number of annotations that it has."""
    if isinstance(task.get("data"), dict):
        annotations = task.get("annotations", task.get("completions"))
        annotations = [each for each in annotations if isinstance(each, dict)] if isinstance(annotations, list) else []
        annotations = [each for each in annotations if not each.get("was_cancelled")]
        results = annotations[0].get("result") if annotations else []
        return _image_of(task["data"]), results if isinstance(results, list) else [], len(annotations)
    if not any(isinstance(each, list) for each in task.values()):
        return None, [], 0
    results = []  # JSON-MIN: each control's values are a list beside the image
    for values in task.values():
        for value in values if isinstance(values, list) else ():
            if isinstance(value, dict) and "original_width" in value:
                results.append({"value": value, **{key: value[key] for key in ("original_width", "original_height")}})
    return _image_of(task), results, 1


def _image_of(data: dict) -> str | None:
    names = [value for value in data.values() if isinstance(value, str) and "." in value]
    usual = [data[key] for key in ("image", "img", "image_url", "ocr") if isinstance(data.get(key), str)]
    return next(iter([*usual, *names]), None)


def _path(name: str) -> str:
    """The path in an address: of local files it is in the query."""
    address = parts_of(name)
    return unquote(parse_qs(address.query).get("d", [address.path or name])[0])


def _add(annotation: Annotation, results: list, where: str) -> None:
    regions: dict[Any, dict] = defaultdict(dict)  # a shape and its label may be two results of one id
    for i, result in enumerate(results):
        if not isinstance(result, dict) or not isinstance(result.get("value"), dict):
            continue
        region = regions[str(result.get("id", i))]
        region.update(result, value={**region.get("value", {}), **result["value"]})
        sides = result.get("original_height"), result.get("original_width")
        if all(type(side) is int and side > 0 for side in sides):
            annotation.size = sides
    for id, region in regions.items():
        value = region["value"]
        try:
            with part_of_file(value):
                outline, is_box = _outline(value, annotation.pixels())
                if outline is None:
                    kind = next((kind for kind in _WITHOUT_AREA if str(region.get("type")).startswith(kind)), None)
                    annotation.left_out.update([kind] if kind else [])
                    continue
                annotation.shapes.append(Shape(_label(value), outline, None, id, is_box))
        except ValueError as error:
            annotation.errors.append(f"{where}: region {id} {one_line(error)}")


def _label(value: dict) -> str:
    names = next((each for key, each in value.items() if key.endswith("labels") and each), None)
    if not isinstance(names, list) or not isinstance(names[0], str):
        raise ValueError("has no label")
    return names[0]


def _outline(value: dict, size: tuple[int, int]) -> tuple[Polygon | Bitmap | None, bool]:
    """What a region draws, and whether it is a box; None for one without an area. Numbers are percent of the sides."""
    height, width = size[0] / 100, size[1] / 100
    if "points" in value:
        points = np.reshape(flat(value["points"]), (-1, 2)) * (width, height)
        return Polygon([points.ravel().tolist()]), False
    if "rle" in value:
        return Bitmap(0, 0, _Brush(value["rle"], size)), False
    if "radiusX" in value:
        x, y, rx, ry = (number(value[key]) for key in ("x", "y", "radiusX", "radiusY"))
        return ellipse(x * width, y * height, rx * width, ry * height, number(value.get("rotation", 0))), False
    if (
        "width" in value
        and "height" in value
        and any("labels" in key for key in value)
        and "keypointlabels" not in value
    ):
        x, y, w, h = (number(value[key]) for key in ("x", "y", "width", "height"))
        corner = x * width, y * height  # about which it is turned
        polygon = box(*corner, (x + w) * width, (y + h) * height)
        return turned(polygon, number(value.get("rotation", 0)), corner), True
    return None, False


class _Brush:
    """A bitmap from Label Studio's run lengths: bits of the four channels of a picture, of which the last counts.

    The format is that of ``@thi.ng/rle-pack``, see ``decode_rle`` in ``label_studio_converter.brush``.
    """

    def __init__(self, content: Any, size: tuple[int, int]):
        if not isinstance(content, list) or not all(type(each) is int and 0 <= each < 256 for each in content):
            raise ValueError(f"has run lengths that are no bytes: {shortened(content)}")
        self.content, self.size = bytes(content), size

    def __call__(self) -> np.ndarray:
        height, width = self.size
        bits = _Bits(self.content)
        count = bits.read(32)
        if count != 4 * height * width or height * width > MAX_PIXELS:
            raise ValueError(f"has run lengths of {count} values, expected {4 * height * width}")
        values = np.concatenate([*_runs(bits, count)])
        return values.reshape(height, width, 4)[..., 3] > 0


def _runs(bits: _Bits, count: int) -> Iterator[np.ndarray]:
    word, sizes, done = bits.read(5) + 1, [bits.read(4) + 1 for _ in range(4)], 0
    while done < count:
        is_run = bits.read(1)
        length = min(bits.read(sizes[bits.read(2)]) + 1, count - done)
        if is_run:
            yield np.full(length, bits.read(word) > 0, np.uint8)
        else:
            yield np.array([bits.read(word) > 0 for _ in range(length)], np.uint8)
        done += length


class _Bits:
    """The bits of some bytes, highest first."""

    def __init__(self, content: bytes):
        self.text, self.place = f"{int.from_bytes(content):0{8 * len(content)}b}" if content else "", 0

    def read(self, count: int) -> int:
        if self.place + count > len(self.text):
            raise ValueError("has run lengths that end too early")
        self.place += count
        return int(self.text[self.place - count : self.place], 2)
