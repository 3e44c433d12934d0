"""YOLO's text files of polygons, for each of ``images/`` a file of its name in ``labels/``.

``data.yaml``, or ``classes.txt`` or ``obj.names`` of labelling tools, names the classes.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ...messages import one_line, shortened
from ..files import read_lines
from ..shapes import Annotated, Annotation, Polygon, Shape, box
from .drawn import ImageIndex, ShapesFormat, files_named, peek, split_in

_FOLDERS = ("labels", "label")
_NAME_FILES = ("classes.txt", "obj.names")  # of Label Studio and labelImg, and of CVAT


class Yolo(ShapesFormat):
    name = "yolo"
    layout = (
        "data.yaml with names, or classes.txt, with images/<split>/ and labels/<split>/ or <split>/images/ and "
        "<split>/labels/"
    )

    def matches(self, root: Path) -> bool:
        return any(
            {path.parent.name, path.parent.parent.name} & {*_FOLDERS} and re.match(r"\s*(\d+\s+[\d.-]|$)", peek(path))
            for path in files_named(root, ".txt")
        ) and bool(_names(root))

    def parse(self, root: Path) -> Annotated:
        names, origin = _names(root) or ([], root)
        found = Annotated(names=names, origin=str(origin))
        for image in ImageIndex(root).paths:
            file = _label_file(image)
            if file is None:
                continue
            annotation = Annotation(image, file, split=split_in(image, root))
            try:
                annotation.size = annotation.pixels()
                lines = read_lines(file)
            except ValueError as error:
                found.problems.append(one_line(error))
                continue
            for i, line in enumerate(lines):
                try:
                    annotation.shapes.append(_shape(line, names, annotation.size, i))
                except ValueError as error:
                    annotation.errors.append(f"{file}: line {1 + i} {one_line(error)}")
            found.annotations.append(annotation)
        return found


def _names(root: Path) -> tuple[list[str], Path] | None:
    for path in sorted([*root.glob("*.y*ml"), *root.glob("*/*.y*ml")]):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        names = content.get("names") if isinstance(content, dict) else None
        names = list(names.values()) if isinstance(names, dict) else names
        if isinstance(names, list) and names and all(isinstance(name, (str, int)) for name in names):
            return [str(name) for name in names], path
    for path in (folder / name for folder in (root, *map(root.joinpath, _FOLDERS)) for name in _NAME_FILES):
        if path.is_file() and (names := read_lines(path)):
            return names, path
    return None


def _label_file(image: Path) -> Path | None:
    """The text file of an image: in the folder ``labels`` in place of ``images``, or beside it."""
    for i in range(len(image.parts) - 1, 0, -1):
        if image.parts[i - 1] in ("images", "image", "imgs"):
            for name in _FOLDERS:
                path = Path(*image.parts[: i - 1], name, *image.parts[i:]).with_suffix(".txt")
                if path.is_file():
                    return path
            return None
    return path if (path := image.with_suffix(".txt")).is_file() else None


def _shape(line: str, names: list[str], size: tuple[int, int], i: int) -> Shape:
    try:
        number, *values = (float(word) for word in line.split())
    except ValueError:
        raise ValueError(f"is not numbers: {shortened(line)}") from None
    if not number.is_integer() or not 0 <= number < len(names):
        raise ValueError(f"has the class {number:g}, expected 0 to {len(names) - 1}")
    height, width = size
    if len(values) in (4, 5):  # a box, maybe with a score
        x, y, w, h = (value * side for value, side in zip(values, (width, height, width, height)))
        return Shape(names[int(number)], box(x - w / 2, y - h / 2, x + w / 2, y + h / 2), None, i, True)
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"has {len(values)} numbers, expected pairs of x and y")
    return Shape(
        names[int(number)], Polygon([[value * (width, height)[j % 2] for j, value in enumerate(values)]]), None, i
    )
