"""Supervisely: ``meta.json``, and in each dataset ``img/`` and ``ann/`` with a JSON file for each image."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...messages import one_line, shortened
from ..class_files import read_classes
from ..files import NoSplit
from ..roles import split_of
from ..shapes import (
    Annotated,
    Annotation,
    Bitmap,
    Polygon,
    Shape,
    box,
    bytes_of_base64,
    flat,
    from_picture,
    part_of_file,
)
from .drawn import ImageIndex, ShapesFormat, contain, read_json, split_in

_LARGEST = 1 << 28  # bytes of an unpacked bitmap file
_AREAS = ("polygon", "rectangle", "bitmap", "alpha_mask")


class Supervisely(ShapesFormat):
    name = "supervisely"
    layout = "meta.json, and <dataset>/img/ with <dataset>/ann/<image>.json"

    def matches(self, root: Path) -> bool:
        return (root / "meta.json").is_file() and contain(root, ".json", '"objects"', '"size"')

    def parse(self, root: Path) -> Annotated:
        classes = read_classes(root / "meta.json") if (root / "meta.json").is_file() else None
        if classes is None:
            raise NoSplit(f"{root} has no meta.json with the classes of Supervisely")
        found = Annotated(names=classes.names, origin=str(classes.path))
        found.colours = dict(zip(classes.names, classes.colours or ()))
        index = ImageIndex(root)
        for path in sorted(root.glob("**/ann/**/*.json")):
            try:
                annotation = _annotation(read_json(path), path, index)
            except ValueError as error:
                found.problems.append(one_line(error))
                continue
            annotation.split = annotation.split or split_in(annotation.image, root)
            found.annotations.append(annotation)
        return found


def _annotation(content: Any, path: Path, index: ImageIndex) -> Annotation:
    if not isinstance(content, dict) or not isinstance(content.get("objects"), list):
        raise ValueError(f"{path} has no list of objects")
    near = path.parent.parent / "img"
    image = index.find(path.stem, near if near.is_dir() else path.parent)
    if image is None:
        raise ValueError(f"{path}: no image {path.stem}")
    size = content.get("size")
    sides = (size.get("height"), size.get("width")) if isinstance(size, dict) else (None, None)
    annotation = Annotation(image, path, sides if all(type(side) is int and side > 0 for side in sides) else None)
    tags = content.get("tags") if isinstance(content.get("tags"), list) else []
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in tags]
    annotation.split = next((split for name in names if isinstance(name, str) and (split := split_of(name))), None)
    for i, each in enumerate(content["objects"]):
        kind = _kind(each)
        if kind is not None and kind not in _AREAS:
            annotation.left_out[kind] += 1
            continue
        try:
            with part_of_file(each):
                annotation.shapes.append(_shape(each, kind, i))
        except ValueError as error:
            annotation.errors.append(f"{path}: object {i} {one_line(error)}")
    return annotation


def _kind(each: Any) -> str | None:
    if not isinstance(each, dict):
        return None
    kind = each.get("geometryType") or ("bitmap" if each.get("bitmap") else "polygon")
    return kind if isinstance(kind, str) else None


def _shape(each: Any, kind: str | None, i: int) -> Shape:
    if kind is None or not isinstance(each.get("classTitle"), str):
        raise ValueError(f"has no classTitle: {shortened(each)}")
    if kind in ("bitmap", "alpha_mask"):
        bitmap = each.get("bitmap")
        try:
            left, top = (int(number) for number in bitmap["origin"])
            outline = Bitmap(left, top, _Packed(bitmap["data"]))
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"has the bitmap {shortened(bitmap)}, expected origin and data") from error
    else:
        points = each.get("points")
        exterior = points.get("exterior") if isinstance(points, dict) else None
        if kind == "rectangle":
            corners = np.reshape(flat([*exterior, *exterior] if isinstance(exterior, list) else None), (-1, 2))
            outline = box(*corners.min(0).tolist(), *corners.max(0).tolist())
        else:
            outline = Polygon([flat(exterior)], [flat(ring) for ring in points.get("interior") or () if len(ring) > 2])
    return Shape(each["classTitle"], outline, each.get("instance"), each.get("id", i), kind == "rectangle")


class _Packed:
    """A bitmap from base64 of a packed PNG file."""

    def __init__(self, text: str):
        if not isinstance(text, str):
            raise TypeError("data is no text")
        self.text = text

    def __call__(self) -> np.ndarray:
        try:
            content = zlib.decompressobj().decompress(bytes_of_base64(self.text, "a bitmap"), _LARGEST)
        except zlib.error as error:
            raise ValueError(f"has a bitmap that cannot be read ({one_line(error)})") from error
        return from_picture(content)
