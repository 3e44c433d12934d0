"""JSON files of annotation tools that list, for each image, shapes with a class: one reader for a table of tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...images import MAX_PIXELS
from ...messages import and_more, one_line, shortened
from ..class_files import find_classes, parse_colour
from ..rle import coder, read_segmentation
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
    from_base64,
    from_row_runs,
    number,
    part_of_file,
)
from .drawn import ImageIndex, ShapesFormat, contain, files_named, peek, read_json, split_in

_TRIED = 64  # files that are looked at to find one with shapes


class Listing(NamedTuple):
    """What a file has for one image.

    Attributes:
        image: its name.
        size: height and width.
        shapes: as the tool writes them.
        split: a name that may be one of a split.
        unread: number of further versions of the shapes, which are not read.
    """

    image: Any
    size: tuple[Any, Any]
    shapes: Iterable[Any]
    split: Any = None
    unread: int = 0


@dataclass(frozen=True)
class Export(ShapesFormat):
    """The export of a tool.

    Attributes:
        endings: of its files.
        keys: those of each of its files.
        images: the parts of a file's content that are of one image each.
        listing: reads such a part.
        shape: makes a shape from one of a listing, given the names of the classes by their place in the file, or names
            a kind without an area.
        classes: name and colour of each class that a file lists, in order, if the tool lists them.
        shape_keys: those that occur with shapes alone, and tell the tool from others.
    """

    name: str
    layout: str
    endings: tuple[str, ...]
    keys: tuple[str, ...]
    images: Callable[[Any], Iterable[Any]]
    listing: Callable[[Any], Listing]
    shape: Callable[[Any, list[Any]], Shape | str]
    classes: Callable[[Any], Iterable[tuple[Any, Any]]] = lambda content: ()
    shape_keys: tuple[str, ...] = ()

    def matches(self, root: Path) -> bool:
        words = [f'"{key}"' for key in (*self.keys, *self.shape_keys)]
        how = {"tried": _TRIED} if self.shape_keys else {}  # the first images may have no shapes
        return any(contain(root, ending, *words, **how) for ending in self.endings)

    def parse(self, root: Path) -> Annotated:
        index, found = ImageIndex(root), Annotated(origin=str(root))
        names: dict[str, Any] = {}
        file_of: dict[Path, Path] = {}  # the first that lists each image
        again, unread = [], []
        for path in (path for ending in self.endings for path in files_named(root, ending)):
            text = peek(path)
            if not all(f'"{key}"' in text for key in self.keys):
                continue
            try:
                with part_of_file(path.name):
                    content = _rows(path) if path.suffix.lower() == ".ndjson" else read_json(path)
                    own = [(name.strip() if _is_name(name) else name, each) for name, each in self.classes(content)]
                    names_here = {name: parse_colour(colour) for name, colour in own if _is_name(name)}
                    parts = [*self.images(content)]
            except ValueError as error:
                found.problems.append(f"{path}: {one_line(error)}" if str(path) not in str(error) else one_line(error))
                continue
            names |= names_here
            by_place = [name for name, _ in own]
            for i, part in enumerate(parts):
                try:
                    with part_of_file(part):
                        listing = self.listing(part)
                        shapes = [*listing.shapes]
                except ValueError as error:
                    found.problems.append(f"{path}: image {i} {one_line(error)}")
                    continue
                image = index.find(listing.image, path.parent) if isinstance(listing.image, str) else None
                if image is None:
                    found.problems.append(f"{path}: no image {shortened(listing.image)}")
                    continue
                if file_of.setdefault(image, path) != path:  # VoTT's project and its export list the same images
                    again.append(image.name)
                    continue
                if listing.unread:
                    unread.append(image.name)
                found.annotations.append(self._annotation(listing._replace(shapes=shapes), image, path, by_place, root))
        if again:
            found.doubts.append(
                f"{len(again)} images are in several files, of which the first is read: {and_more(again, 3)}"
            )
        if unread:
            found.doubts.append(
                f"{len(unread)} images have several labels in a project, and the first is read: {and_more(unread, 3)}"
            )
        if not names and (classes := find_classes([root, root / "classes"])):  # SuperAnnotate's have their own file
            names = dict(zip(classes.names, classes.colours or [None] * len(classes.names)))
        if names:
            found.names, found.colours = [*names], {name: colour for name, colour in names.items() if colour}
        return found

    def _annotation(self, listing: Listing, image: Path, path: Path, names: list[Any], root: Path) -> Annotation:
        size = listing.size if all(type(side) is int and side > 0 for side in listing.size) else None
        split = split_of(listing.split) if isinstance(listing.split, str) else None
        split = split or split_in(image, root) or split_of(path.stem)
        annotation = Annotation(image, path, size, split=split)
        for i, each in enumerate(listing.shapes):
            try:
                with part_of_file(each):
                    shape = self.shape(each, names)
                if not isinstance(shape, (Shape, str)):
                    raise ValueError(f"has the type {shortened(shape)}, expected a name")
            except ValueError as error:
                annotation.errors.append(f"{path}: {image.name}: shape {i} {one_line(error)}")
                continue
            if isinstance(shape, str):
                annotation.left_out[shape] += 1
            else:
                annotation.shapes.append(shape._replace(id=i))
        return annotation


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name.strip())


def _rows(path: Path) -> list:
    with path.open(encoding="utf-8-sig") as file:
        return [json.loads(line) for line in file if line.strip()]


def _named(name: Any, outline: Polygon | Bitmap, group: Any = None, is_box: bool = False) -> Shape:
    if not _is_name(name):
        raise ValueError(f"has the class {shortened(name)}, expected a name")
    return Shape(name.strip(), outline, group, None, is_box)


def _points(points: Any) -> list[float]:
    """``[x0, y0, ...]`` of ``[{"x": x0, "y": y0}, ...]``."""
    return flat([[each["x"], each["y"]] for each in points])


def _ring(numbers: Any) -> list[float]:
    """``[x0, y0, ...]`` of the same in a file, after a check."""
    return flat(list(zip(numbers[::2], numbers[1::2])))


def _rings(rings: list[list[float]]) -> Polygon:
    """The polygon of some rings, of which those that lie in another are its holes."""
    outer, holes = [], []
    for ring in rings:
        (holes if any(_is_in(ring[:2], other) for other in rings if other is not ring) else outer).append(ring)
    return Polygon(outer, holes) if outer else Polygon(rings)


def _is_in(point: list[float], ring: list[float]) -> bool:
    """Whether a point is in a ring: a ray from it crosses the outline an odd number of times."""
    x, y = point
    corners = np.reshape(ring, (-1, 2))
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, 1, 0).T
    crosses = (y0 > y) != (y1 > y)
    return bool((x < (x1 - x0)[crosses] * (y - y0[crosses]) / (y1 - y0)[crosses] + x0[crosses]).sum() % 2)


def _vott(each: Any) -> Listing:
    asset = each["asset"]
    return Listing(asset["name"], (asset["size"]["height"], asset["size"]["width"]), each["regions"])


def _vott_shape(each: Any, _: list[Any]) -> Shape | str:
    if each["type"] not in ("POLYGON", "RECTANGLE", "SQUARE"):
        return each["type"].lower()
    return _named(each["tags"][0], Polygon([_points(each["points"])]), None, each["type"] != "POLYGON")


def _labelbox(row: Any) -> Listing:
    data, media = row["data_row"], row.get("media_attributes") or {}
    labels = [project["labels"] for project in row["projects"].values()]  # several in one are of several people
    shapes = [shape for each in labels for label in each[:1] for shape in label["annotations"]["objects"]]
    unread = sum(len(each[1:]) for each in labels)
    split = (data.get("details") or {}).get("split")
    name = data.get("external_id") or data["row_data"]
    return Listing(name, (media.get("height"), media.get("width")), shapes, split, unread)


def _labelbox_shape(each: Any, _: list[Any]) -> Shape | str:
    name = each["name"]
    if points := each.get("polygon"):
        return _named(name, Polygon([_points(points)]))
    if corner := each.get("bounding_box"):
        x, y, w, h = (number(corner[key]) for key in ("left", "top", "width", "height"))
        return _named(name, box(x, y, x + w, y + h), None, True)
    if "point" in each or "line" in each:
        return "point" if "point" in each else "line"
    raise ValueError(
        f"({shortened(name)}) has a mask at an address, which is not fetched; export polygons or COCO's JSON"
    )


def _darwin(content: Any) -> Listing:
    slot = content["item"]["slots"][0]
    return Listing(content["item"]["name"], (slot.get("height"), slot.get("width")), content["annotations"])


_DARWIN_OTHERS = ("tag", "keypoint", "line", "skeleton", "mask", "raster_layer")


def _darwin_shape(each: Any, _: list[Any]) -> Shape | str:
    if polygon := each.get("polygon"):
        return _named(each["name"], _rings([_points(path) for path in polygon["paths"]]))
    if corner := each.get("bounding_box"):
        x, y, w, h = (number(corner[key]) for key in "xywh")
        return _named(each["name"], box(x, y, x + w, y + h), None, True)
    return next((kind for kind in _DARWIN_OTHERS if kind in each), "shape")


def _hasty(each: Any) -> Listing:
    return Listing(each["image_name"], (each["height"], each["width"]), each["labels"], each.get("dataset_name"))


def _hasty_shape(each: Any, _: list[Any]) -> Shape | str:
    x0, y0, x1, y1 = (round(number(side)) for side in each["bbox"])
    if runs := each.get("mask"):
        return _named(each["class_name"], Bitmap(x0, y0, partial(_from_lengths, runs, y1 - y0, x1 - x0)))
    if each.get("polygon"):
        return _named(each["class_name"], Polygon([flat(each["polygon"])]))
    return _named(each["class_name"], box(x0, y0, x1, y1), None, True)


def _from_lengths(lengths: Any, height: int, width: int) -> np.ndarray:
    with part_of_file(lengths):
        return from_row_runs(lengths, height, width)


def _superannotate(content: Any) -> Listing:
    about = content["metadata"]
    return Listing(about["name"], (about.get("height"), about.get("width")), content["instances"])


def _superannotate_shape(each: Any, _: list[Any]) -> Shape | str:
    kind, name, points = each.get("type", "mask"), each["className"], each.get("points")
    group = each.get("groupId") or None
    if kind == "polygon":
        rings = [points, *(each.get("exclude") or ())]
        first, *holes = map(_ring, rings)
        return _named(name, Polygon([first], holes), group)
    if kind == "bbox":
        return _named(name, box(*(number(points[key]) for key in ("x1", "y1", "x2", "y2"))), group, True)
    if kind == "ellipse":
        return _named(name, ellipse(*(number(each[key]) for key in ("cx", "cy", "rx", "ry", "angle"))), group)
    if kind == "mask":
        raise ValueError(f"({shortened(name)}) is painted in pixels; export COCO's JSON from SuperAnnotate")
    return kind


def _dataloop(content: Any) -> Listing:
    about = content["metadata"]["system"] if "system" in content.get("metadata", {}) else {}
    return Listing(content["filename"], (about.get("height"), about.get("width")), content["annotations"])


def _dataloop_shape(each: Any, _: list[Any]) -> Shape | str:
    kind, points = each["type"], each.get("coordinates")
    if kind == "segment":
        rings = points if isinstance(points[0], list) else [points]
        return _named(each["label"], _rings([_points(ring) for ring in rings]), each.get("objectId"))
    if kind == "box":
        first, last = points[0], points[-1]
        return _named(each["label"], box(*(number(p[c]) for p in (first, last) for c in "xy")), None, True)
    if kind == "binary":
        text = points["data"] if isinstance(points, dict) else points
        return _named(each["label"], Bitmap(0, 0, partial(from_base64, text)))
    return kind


def _datumaro(each: Any) -> Listing:
    image = each.get("image") or {}
    height, width = image.get("size") or (None, None)
    return Listing(image.get("path") or each["id"], (height, width), each["annotations"], each.get("subset"))


def _datumaro_shape(each: Any, names: list[Any]) -> Shape | str:
    kind = each["type"]
    if kind not in ("polygon", "bbox", "mask", "ellipse"):
        return kind
    id, group = each["label_id"], each.get("group") or None
    if type(id) is not int or not 0 <= id < len(names):
        raise ValueError(f"has the label_id {shortened(id)}, expected a whole number from 0 to {len(names) - 1}")
    name = names[id]
    if kind == "polygon":
        return _named(name, Polygon([_ring(each["points"])]), group)
    if kind == "mask":
        return _named(name, Bitmap(0, 0, partial(_from_runs, each["rle"])), group)
    x, y, w, h = (number(side) for side in each["bbox"])
    if kind == "ellipse":
        return _named(name, ellipse(x + w / 2, y + h / 2, w / 2, h / 2), group)
    return _named(name, box(x, y, x + w, y + h), group, True)


def _from_runs(runs: Any) -> np.ndarray:
    """``(H, W)`` bool from COCO's run lengths."""
    with part_of_file(runs):
        height, width = runs["size"]
        if not 0 < height * width <= MAX_PIXELS:
            raise ValueError(
                f"has a mask of {shortened(width)}x{shortened(height)}, at most {MAX_PIXELS:,} pixels are read"
            )
        rle = read_segmentation(runs, (height, width))[0]
        return np.zeros((height, width), bool) if rle is None else coder().decode(rle).astype(bool)


def _all(content: Any) -> list:
    return [content]


EXPORTS = (
    Export(
        "vott",
        "VoTT's JSON of assets and regions, and the images in any folder",
        (".json",),
        ("asset", "regions"),
        lambda content: content["assets"].values() if "assets" in content else [content],
        _vott,
        _vott_shape,
        lambda content: ((tag["name"], tag.get("color")) for tag in content.get("tags", ())),
    ),
    Export(
        "labelbox",
        "Labelbox's export of polygons and boxes as rows of JSON, and the images in any folder",
        (".ndjson", ".json"),
        ("data_row", "projects"),
        lambda content: content if isinstance(content, list) else [content],
        _labelbox,
        _labelbox_shape,
    ),
    Export(
        "darwin",
        "a JSON file of V7's Darwin for each image, and the images in any folder",
        (".json",),
        ("annotations", "slots"),
        _all,
        _darwin,
        _darwin_shape,
    ),
    Export(
        "hasty",
        "Hasty's JSON, and the images in any folder",
        (".json",),
        ("label_classes", "image_name"),
        lambda content: content["images"],
        _hasty,
        _hasty_shape,
        lambda content: ((each["class_name"], each.get("color")) for each in content["label_classes"]),
    ),
    Export(
        "superannotate",
        "a JSON file of SuperAnnotate for each image, and the images in any folder",
        (".json",),
        ("metadata", "instances"),
        _all,
        _superannotate,
        _superannotate_shape,
        shape_keys=("className",),
    ),
    Export(
        "dataloop",
        "a JSON file of Dataloop for each image, and the images in any folder",
        (".json",),
        ("filename", "annotations"),
        _all,
        _dataloop,
        _dataloop_shape,
        shape_keys=("coordinates",),
    ),
    Export(
        "datumaro",
        "Datumaro's JSON of items, and the images in any folder",
        (".json",),
        ("items", "categories"),
        lambda content: content["items"],
        _datumaro,
        _datumaro_shape,
        lambda content: ((each["name"], None) for each in content["categories"]["label"]["labels"]),
        shape_keys=("label_id",),
    ),
)
