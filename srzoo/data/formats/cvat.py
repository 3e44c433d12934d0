"""CVAT's XML, "CVAT for images" or "for video": polygons, boxes, ellipses and masks of all images in one file."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from xml.parsers import expat

import numpy as np

from ...messages import one_line, shortened
from ..class_files import parse_colour
from ..roles import split_of
from ..shapes import (
    Annotated,
    Annotation,
    Bitmap,
    Polygon,
    Shape,
    box,
    ellipse,
    flat,
    from_row_runs,
    number,
    part_of_file,
    turned,
)
from .drawn import ImageIndex, ShapesFormat, contain, files_named, peek, split_in

_AREAS = ("polygon", "box", "ellipse", "mask")
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")


class Cvat(ShapesFormat):
    name = "cvat"
    layout = "annotations.xml of CVAT for images or for video, and the images or frames in any folder"

    def matches(self, root: Path) -> bool:
        return any(contain(root, ".xml", "<annotations>", word) for word in ("<image ", "<track "))

    def parse(self, root: Path) -> Annotated:
        index, found = ImageIndex(root), Annotated(names=[], colours={}, origin=str(root))
        for path in files_named(root, ".xml"):
            if "<annotations>" not in peek(path):
                continue
            try:
                _File(path, root, index, found).read()
            except (OSError, ValueError, LookupError, expat.ExpatError) as error:
                found.problems.append(f"{path}: {one_line(error)}")
        return found


class _File:
    """One XML file, read from its beginning to its end."""

    def __init__(self, path: Path, root: Path, index: ImageIndex, found: Annotated):
        self.path, self.root, self.index, self.found = path, root, index, found
        self.image: Annotation | None = None
        self.layers: list[tuple[float, Shape]] = []
        self.track: str | None = None  # its label
        self.frames: dict[int, tuple[Annotation, list[tuple[float, Shape]]] | None] = {}
        self.count = 0  # frames of the task
        self.inside: list[str] = []
        self.text = ""
        self.label = ""

    def read(self) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = self._refuse
        with self.path.open("rb") as file:
            parser.ParseFile(file)
        for each in self.frames.values():
            if each:
                each[0].shapes = _ordered(each[1])
                self.found.annotations.append(each[0])
        missing = sorted(number for number, each in self.frames.items() if each is None)
        if missing:
            self.found.problems.append(
                f"{self.path}: {len(missing)} of {len(self.frames)} frames with shapes have no image, first frame "
                f"{missing[0]}; write the video's frames with: ffmpeg -i VIDEO -start_number 0 frame_%06d.png"
            )

    @cached_property
    def numbered(self) -> dict[int, Path]:
        """The images by the number of the frame: in their order if there is one for each, or else by their names."""
        by_number: dict[int, Path] = {}
        paths = [path for path in self.index.paths if self.path.parent in path.parents] or self.index.paths
        for path in paths:
            if number := re.search(r"(\d+)\D*$", path.stem):
                by_number.setdefault(int(number[1]), path)
        if len(by_number) == self.count == len(paths):
            return dict(enumerate(by_number[number] for number in sorted(by_number)))
        return by_number

    def _refuse(self, name, *_) -> None:
        raise ValueError(f"it declares the entity {shortened(name)}, which is not read")

    def _characters(self, text: str) -> None:
        self.text += text

    def _start(self, name: str, values: dict[str, str]) -> None:
        self.inside.append(name)
        self.text = ""
        if name == "image":
            self._open(values)
        elif name == "track" and "meta" not in self.inside:
            self.track = values.get("label", "")
        elif self.track is not None and self.inside[-2] == "track":
            self._tracked(name, {**values, "label": self.track})
        elif self.image and self.inside[-2] == "image":
            _add(self.image, self.layers, name, values)

    def _end(self, name: str) -> None:
        self.inside.pop()
        if name == "name" and self.inside[-1:] == ["label"]:
            self.label = self.text.strip()
            if self.label and self.label not in self.found.names:
                self.found.names.append(self.label)
        elif name == "color" and self.inside[-1:] == ["label"] and parse_colour(self.text):
            self.found.colours[self.label] = parse_colour(self.text)
        elif name == "size" and "meta" in self.inside and self.text.strip().isdigit():
            self.count = int(self.text)
        elif name == "track":
            self.track = None
        elif name == "image" and self.image:
            self.image.shapes = _ordered(self.layers)
            self.image, self.layers = None, []

    def _open(self, values: dict[str, str]) -> None:
        name = values.get("name", "")
        path = self.index.find(name, self.path.parent)
        if path is None:
            self.found.problems.append(f"{self.path}: no image {name!r}")
            return
        try:
            size = int(values["height"]), int(values["width"])
        except (KeyError, ValueError):
            size = None
        split = split_of(values.get("subset", "")) or split_in(path, self.root)
        self.image = Annotation(path, self.path, size if size and min(size) > 0 else None, split=split)
        self.found.annotations.append(self.image)

    def _tracked(self, kind: str, values: dict[str, str]) -> None:
        """A shape of a track in one frame; ``outside`` says that the object has left it."""
        frame = int(values["frame"]) if values.get("frame", "").isdigit() else -1
        if frame not in self.frames:
            path = self.numbered.get(frame)
            annotation = path and Annotation(path, self.path, split=split_in(path, self.root))
            self.frames[frame] = (annotation, []) if annotation else None
        if self.frames[frame] and values.get("outside") != "1":
            _add(*self.frames[frame], kind, values)


def _ordered(layers: list[tuple[float, Shape]]) -> list[Shape]:
    return [shape for _, shape in sorted(layers, key=lambda layer: layer[0])]


def _add(image: Annotation, layers: list[tuple[float, Shape]], kind: str, values: dict[str, str]) -> None:
    if kind in _WITHOUT_AREA and kind != "tag":
        image.left_out[kind] += 1
    if kind not in _AREAS:
        return
    place = sum(len(each) for each in (layers, image.errors))
    try:
        group = values.get("group_id")
        with part_of_file(values):
            shape = Shape(
                values["label"], _outline(kind, values), group if group != "0" else None, place, kind == "box"
            )
        layers.append((number(values.get("z_order", 0)), shape))
    except ValueError as error:
        image.errors.append(f"{image.file}:{image.image.name}: {kind} {place} {one_line(error)}")


def _outline(kind: str, values: dict[str, str]) -> Polygon | Bitmap:
    degrees = number(values.get("rotation", 0))
    if kind == "polygon":
        return Polygon([flat([point.split(",") for point in values["points"].split(";")])])
    if kind == "box":
        x0, y0, x1, y1 = (number(values[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return turned(box(x0, y0, x1, y1), degrees, ((x0 + x1) / 2, (y0 + y1) / 2))
    if kind == "ellipse":
        return ellipse(*(number(values[key]) for key in ("cx", "cy", "rx", "ry")), degrees)
    left, top, width, height = (int(number(values[key])) for key in ("left", "top", "width", "height"))
    lengths = [_length(text) for text in values["rle"].split(",")]
    return Bitmap(left, top, _Runs(lengths, height, width))


def _length(text: str) -> int:
    length = number(text)
    if not length.is_integer():
        raise ValueError(f"has a run length of {shortened(text)}, expected a whole number")
    return int(length)


class _Runs:
    """A bitmap from its run lengths."""

    def __init__(self, lengths: list[int], height: int, width: int):
        self.lengths, self.height, self.width = lengths, height, width

    def __call__(self) -> np.ndarray:
        return from_row_runs(self.lengths, self.height, self.width)
