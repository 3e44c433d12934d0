"""labelme: a JSON file for each image, beside it or in a folder of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...images import ImageError
from ...messages import one_line, shortened
from ..class_files import find_classes
from ..shapes import (
    Annotated,
    Annotation,
    Bitmap,
    Polygon,
    Shape,
    box,
    bytes_of_base64,
    ellipse,
    flat,
    from_base64,
    part_of_file,
)
from .drawn import ImageIndex, ShapesFormat, contain, files_named, read_json, split_in

_WITHOUT_AREA = ("line", "linestrip", "point", "points")


class Labelme(ShapesFormat):
    name = "labelme"
    layout = "a JSON file of labelme for each image, maybe with labels.txt"

    def matches(self, root: Path) -> bool:
        return contain(root, ".json", '"shapes"', '"imagePath"')

    def parse(self, root: Path) -> Annotated:
        found, index, annotated = Annotated(origin=str(root)), ImageIndex(root), set()
        classes = find_classes([root])
        if classes and classes.values is None:
            found.names, found.origin = classes.names, str(classes.path)
        for path in files_named(root, ".json"):
            try:
                content = read_json(path)
                if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
                    continue
                annotation = _annotation(content, path, index)
            except ValueError as error:
                found.problems.append(one_line(error))
                continue
            annotation.split = split_in(annotation.image, root)
            annotated.add(annotation.image)
            found.annotations.append(annotation)
        others = [
            path for path in index.paths if path not in annotated and path.parent in {p.parent for p in annotated}
        ]
        if others:
            found.doubts.append(f"{len(others)} images have no JSON file, and are left out: {others[0].name}, ...")
        return found


def _annotation(content: dict, path: Path, index: ImageIndex) -> Annotation:
    name = content.get("imagePath") if isinstance(content.get("imagePath"), str) else path.stem
    image = index.find(name, path.parent) or index.find(path.stem, path.parent)
    content_of = None
    if image is None and content.get("imageData"):
        image, content_of = path, _Embedded(path)
    if image is None:
        raise ValueError(f"{path}: no image {name!r}, nor one of the name {path.stem}, and no imageData")
    sides = content.get("imageHeight"), content.get("imageWidth")
    size = sides if all(type(side) is int and side > 0 for side in sides) else None
    annotation = Annotation(image, path, size, content=content_of)
    for i, shape in enumerate(content["shapes"]):
        kind = shape.get("shape_type") or "polygon" if isinstance(shape, dict) else None
        if kind in _WITHOUT_AREA:
            annotation.left_out[kind] += 1
            continue
        try:
            with part_of_file(shape):
                annotation.shapes.append(_shape(shape, kind, i))
        except ValueError as error:
            annotation.errors.append(f"{path}: shape {i} {one_line(error)}")
    return annotation


def _shape(shape: Any, kind: str | None, i: int) -> Shape:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
        raise ValueError(f"has no label: {shortened(shape)}")
    points = shape.get("points")
    if kind in ("rectangle", "circle", "mask"):
        if not isinstance(points, list) or len(points) not in (2, 4):
            raise ValueError(f"is a {kind} of the points {shortened(points)}, expected two")
        (x0, y0), (x1, y1) = np.reshape(flat([*points, *points]), (-1, 2))[[0, 1 if len(points) == 2 else 2]].tolist()
    if kind == "rectangle":
        outline = box(x0, y0, x1, y1)
    elif kind == "circle":
        radius = math.hypot(x1 - x0, y1 - y0)
        outline = ellipse(x0, y0, radius, radius)
    elif kind == "mask":
        outline = Bitmap(round(min(x0, x1)), round(min(y0, y1)), _picture(shape.get("mask")))
    else:
        outline = Polygon([flat(points)])
    return Shape(shape["label"], outline, shape.get("group_id"), i, kind == "rectangle")


class _Embedded:
    """The content of an image that labelme keeps in the JSON file, as base64."""

    def __init__(self, path: Path):
        self.path = path

    def __call__(self) -> bytes:
        try:
            content = read_json(self.path)
        except ValueError as error:
            raise ImageError(str(error)) from error
        try:
            with part_of_file(content):
                return bytes_of_base64(content["imageData"], "imageData")
        except ValueError as error:
            raise ImageError(f"{self.path} {error}") from error


def _picture(text: Any) -> Callable[[], np.ndarray]:
    if not isinstance(text, str):
        raise ValueError(f"has the mask {shortened(text)}, expected text")
    return partial(from_base64, text)
