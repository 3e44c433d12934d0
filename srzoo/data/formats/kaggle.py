"""A table of run lengths, as in Kaggle's competitions: ``train.csv`` with a column such as EncodedPixels."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...messages import one_line, shortened
from ..shapes import Annotated, Annotation, Bitmap, Shape, from_row_runs
from .drawn import ImageIndex, ShapesFormat, files_named, split_in

_JOINED = ("image_label", "imageid_classid")  # columns of an image and its class: x.jpg_Fish
_IMAGES = (*_JOINED, "imageid", "image_id", "id", "img", "image", "image_name", "filename")
_RUNS = ("encodedpixels", "encoded_pixels", "rle", "rle_mask", "mask_rle", "annotation", "segmentation", "encoding")
_CLASSES = ("classid", "class_id", "class", "label", "category", "cell_type")
_NONE = ("", "-1", "nan", "none")  # instead of run lengths, where an image has no such object
_UNNAMED = "object"
_PEEKED = 64  # rows that are looked at to tell the direction of the runs
_LONGEST = 1 << 27  # characters of a cell


class Row(NamedTuple):
    """A mask of a table: of which image and class, and its run lengths as text."""

    image: str
    label: str
    runs: str


class Kaggle(ShapesFormat):
    name = "kaggle"
    layout = "a CSV file of run lengths (ImageId, EncodedPixels, maybe ClassId), and the images in any folder"
    down_columns: bool | None = None  # told by the rows; of a square image's, which do not tell, Kaggle's rule

    def matches(self, root: Path) -> bool:
        return any(_columns(path) for path in files_named(root, ".csv"))

    def parse(self, root: Path) -> Annotated:
        index, found = ImageIndex(root), Annotated(origin=str(root))
        for path in files_named(root, ".csv"):
            try:
                rows = [*_rows(path)] if _columns(path) else []
            except (OSError, ValueError, csv.Error) as error:
                found.problems.append(f"{path}: {one_line(error)}")
                continue
            by_image: dict[Path, Annotation] = {}
            for number, row in enumerate(rows, 2):
                image = index.find(row.image, path.parent)
                if image is None:
                    found.problems.append(f"{path}: line {number}: no image {shortened(row.image)}")
                    continue
                each = by_image.setdefault(image, Annotation(image, path, split=split_in(image, root)))
                if row.runs.lower() not in _NONE:
                    try:
                        each.shapes.append(Shape(row.label, Bitmap(0, 0, _Text(row.runs, each)), None, number))
                    except ValueError as error:
                        each.errors.append(f"{path}: line {number} {one_line(error)}")
            self._set_direction([*by_image.values()], path, found)
            found.annotations += by_image.values()
        others = {*index.paths} - {each.image for each in found.annotations}
        beside = {each.image.parent for each in found.annotations}
        others = sorted(path for path in others if path.parent in beside)
        if others:
            found.doubts.append(f"{len(others)} images have no row, and are left out: {others[0].name}, ...")
        return found

    def _set_direction(self, annotations: Sequence[Annotation], path: Path, found: Annotated) -> None:
        """Tell every bitmap whether its runs go down the columns or along the rows."""
        down = self.down_columns
        if down is None:
            down = _go_down(annotations)
        if down is None and any(each.shapes for each in annotations):
            down = True
            found.doubts.append(
                f"{path}: runs are read down the columns, as Kaggle's usually go; if masks look mirrored, pass "
                f"--data.format {KaggleRows.name}"
            )
        for shape in (shape for each in annotations for shape in each.shapes):
            shape.outline.pixels.down_columns = down


class KaggleRows(Kaggle):
    name = "kaggle_rows"
    layout = "as kaggle, with runs along the rows; it is not detected for square images, and has to be named"
    down_columns = False

    def matches(self, root: Path) -> bool:
        return False  # kaggle tells, where it can be told


class Columns(NamedTuple):
    """The columns of the image, the run lengths and the class; ``is_joined`` if image and class share one."""

    image: int
    runs: int
    label: int | None
    is_joined: bool


def _columns(path: Path) -> Columns | None:
    """The columns of a table, or None if it is another table."""
    if "submission" in path.stem.lower():
        return None
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = [cell.strip().lower() for cell in file.readline(1 << 12).split(",")]
    except (OSError, ValueError):
        return None
    images, runs, classes = (
        next((head.index(name) for name in names if name in head), None) for names in (_IMAGES, _RUNS, _CLASSES)
    )
    return None if images is None or runs is None else Columns(images, runs, classes, head[images] in _JOINED)


def _rows(path: Path) -> Iterator[Row]:
    columns = _columns(path)
    usual = csv.field_size_limit(min(sys.maxsize, _LONGEST))
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            next(reader)
            for cells in reader:
                if len(cells) <= max(columns.image, columns.runs, columns.label or 0):
                    continue
                image, label = cells[columns.image].strip(), ""
                if columns.label is not None:
                    label = cells[columns.label].strip()
                elif columns.is_joined:
                    image, _, label = image.rpartition("_")
                yield Row(
                    image, f"class {label}" if label.isdigit() else label or _UNNAMED, cells[columns.runs].strip()
                )
    finally:
        csv.field_size_limit(usual)


def _go_down(annotations: Sequence[Annotation]) -> bool | None:
    """Whether runs go down the columns: then starts of runs side by side differ by about the height.

    None if the images are square, or there are too few runs.
    """
    votes = {True: 0, False: 0}
    shapes = [(each, shape.outline.pixels) for each in annotations for shape in each.shapes]
    for each, text in shapes[:: max(1, len(shapes) // _PEEKED)]:
        try:
            height, width = each.pixels()
        except ValueError:
            continue  # it is named when it is read
        if height != width:
            steps = np.diff(text.starts())
            distance = [int((abs(steps - side) <= max(2, side // 16)).sum()) for side in (height, width)]
            votes[True] += distance[0]
            votes[False] += distance[1]
    return None if votes[True] == votes[False] else votes[True] > votes[False]


class _Text:
    """A bitmap from run lengths as text: "start length start length ...", from 1 or from 0 on."""

    def __init__(self, text: str, annotation: Annotation):
        if not all(word.isdigit() and len(word) < 10 for word in text.split()) or len(text.split()) % 2:
            raise ValueError(f"has run lengths that are no pairs of start and length: {shortened(text)}")
        self.text, self.annotation, self.down_columns = text, annotation, True

    def starts(self) -> np.ndarray:
        """Starts of the runs, in pixels."""
        return np.array(self.text.split()[::2], np.int64)

    def __call__(self) -> np.ndarray:
        height, width = self.annotation.pixels()
        starts, lengths = self.starts(), np.array(self.text.split()[1::2], np.int64)
        starts = starts - int(starts.min(initial=1) > 0)
        gaps = starts - np.concatenate([[0], (starts + lengths)[:-1]])
        if (gaps < 0).any():
            raise ValueError("has run lengths that overlap, or are out of order")
        runs = np.stack([gaps, lengths], 1).ravel().tolist()
        if self.down_columns:
            return from_row_runs(runs, width, height).T
        return from_row_runs(runs, height, width)
