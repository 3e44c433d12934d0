"""Annotations by shapes, whichever tool drew them: polygons, boxes, bitmaps and run lengths, each with a class.

A reader of one tool's files makes an `Annotated` of them; `masks_of` and `objects_of` make a split of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from ..images import MAX_PIXELS, decoding
from ..labels import IGNORE, LabelSet
from ..labels.own import own_labels, spread_colour
from ..messages import and_more, one_line, shortened
from .class_files import BACKGROUND, VOID, Colour
from .masks import IdMap
from .objects import Examined, FoundObject, Objects
from .rle import Rle, coder, encode, read_segmentation
from .samples import ImageFiles, InstanceData, SemanticData

BACKGROUND_NAME = "background"
_CORNERS = 64  # of the polygon that a circle or an ellipse is drawn as


class Polygon(NamedTuple):
    """Rings of pixels ``[x0, y0, x1, y1, ...]``, which together are filled, and the holes in them."""

    rings: list[list[float]]
    holes: Sequence[list[float]] = ()


class Bitmap(NamedTuple):
    """A mask of a part of the image.

    Attributes:
        left, top: where its first pixel is.
        pixels: makes ``(h, w)`` bool; raises ValueError if it cannot.
    """

    left: int
    top: int
    pixels: Callable[[], np.ndarray]


class Shape(NamedTuple):
    """A drawn shape.

    Attributes:
        label: name of its class.
        outline: what was drawn.
        group: shapes of one image, class and group are parts of one object; None for an object of its own.
        id: for messages.
        is_box: whether only the box of an object was drawn.
    """

    label: str
    outline: Polygon | Bitmap
    group: Any = None
    id: Any = None
    is_box: bool = False


@dataclass
class Annotation:
    """The annotation of one image.

    Attributes:
        image: path of the image.
        file: that of the annotation.
        size: ``(H, W)`` of the upright image as the file has it; None if it does not say.
        shapes: from the lowest to the highest.
        split: "train", "val" or "test", or None.
        errors: a line for each shape that cannot be read.
        left_out: number of shapes without an area, such as points and lines.
        content: makes the content of the image if it is in ``file``, which then is ``image``, too; None if it is not.
    """

    image: Path
    file: Path
    size: tuple[int, int] | None = None
    shapes: list[Shape] = field(default_factory=list)
    split: str | None = None
    errors: list[str] = field(default_factory=list)
    left_out: Counter = field(default_factory=Counter)
    content: Callable[[], bytes] | None = None

    def pixels(self) -> tuple[int, int]:
        """``(H, W)`` of the image.

        Raises:
            ValueError: it is not known, and the image cannot be read; or it is too large.
        """
        size = self.size
        if size is None:
            source = io.BytesIO(self.content()) if self.content else self.image
            with decoding(str(self.image)), Image.open(source) as image:
                is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
                size = image.size if is_turned else image.size[::-1]
        if size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"{self.file}: an image of {size[1]}x{size[0]}, at most {MAX_PIXELS:,} pixels are read")
        return size


@dataclass
class Annotated:
    """All that files of one tool contain.

    Attributes:
        annotations: of each image that exists.
        names: of the classes in order, if a file lists them; shapes of other classes are told.
        colours: of classes, by name.
        problems: a line for each file that cannot be read, and each image that does not exist.
        doubts: a line for what is passed over.
        origin: of the names, for messages.
    """

    annotations: list[Annotation] = field(default_factory=list)
    names: list[str] | None = None
    colours: Mapping[str, Colour] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    origin: str = ""


def class_names(found: Annotated) -> list[str]:
    """The classes without background and void: those that are listed, then others that occur, by name."""
    used = {shape.label for each in found.annotations for shape in each.shapes}
    listed = found.names or []
    return [name for name in [*listed, *sorted(used - {*listed})] if name.lower() not in BACKGROUND | VOID]


def _labels(found: Annotated, names: list[str], with_background: bool) -> LabelSet:
    labels = own_labels([*([BACKGROUND_NAME] if with_background else []), *names], found.origin, 1)
    own = [found.colours.get(name) for name in names]
    are_told_apart = None not in own and len({*own}) == len(own)
    colours = own if are_told_apart else [*map(spread_colour, range(len(names)))]
    if with_background:
        black = (0, 0, 0) if (0, 0, 0) not in colours else (32, 32, 32)
        colours = [black, *colours]
    return LabelSet(labels.classes, tuple(colours))


def masks_of(format: str, split: str, found: Annotated, names: list[str], chosen: list[Annotation]) -> ShapeMasks:
    """A split of masks of the chosen annotations, over a background."""
    class_of = {name: 1 + i for i, name in enumerate(names)}
    return ShapeMasks(
        format,
        split,
        _labels(found, names, with_background=True),
        IdMap({i: i for i in [*range(len(names) + 1), IGNORE]}),
        chosen,
        class_of,
        unpaired=found.problems,
        doubts=[*found.doubts, *_doubts(chosen, "are filled")],
    )


def objects_of(format: str, split: str, found: Annotated, names: list[str], chosen: list[Annotation]) -> ShapeObjects:
    """A split of objects of the chosen annotations."""
    return ShapeObjects(
        format,
        split,
        _labels(found, names, with_background=False),
        tuple(range(1, 1 + len(names))),
        [each.image.name for each in chosen],
        chosen,
        {name: i for i, name in enumerate(names)},
        unpaired=found.problems,
        doubts=[*found.doubts, *_doubts(chosen, "are taken as masks")],
    )


def _doubts(chosen: list[Annotation], what: str) -> Iterable[str]:
    shapes = [shape for each in chosen for shape in each.shapes]
    boxes = sum(shape.is_box for shape in shapes)
    if boxes:
        labels = and_more(sorted({shape.label for shape in shapes if shape.is_box}), 3)
        yield f"{boxes} of {len(shapes)} shapes are boxes ({labels}), which {what}"
    left_out = sum((each.left_out for each in chosen), Counter())
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common())
        yield f"shapes without an area are left out: {kinds}"


@dataclass
class _Shapes(ImageFiles):
    """A split of images with shapes.

    Attributes:
        annotations: of each image.
        class_of: class id of each class's name.
    """

    PER_IMAGE: ClassVar = ("annotations",)

    annotations: list[Annotation]
    class_of: dict[str, int]

    def __len__(self) -> int:
        return len(self.annotations)

    def image_file(self, index: int) -> Path:
        return self.annotations[index].image

    def image_source(self, index: int) -> Path | io.BytesIO:
        each = self.annotations[index]
        if not each.content:
            return each.image
        file = io.BytesIO(each.content())
        file.name = str(each.image)
        return file

    def target_name(self, index: int) -> str:
        each = self.annotations[index]
        return str(each.file) if each.image.stem in each.file.stem else f"{each.file}:{each.image.name}"

    def files(self) -> list[Path]:
        return [*super().files(), *dict.fromkeys(each.file for each in self.annotations)]

    def _drawn(self, index: int) -> tuple[tuple[int, int], list[tuple[Shape, Rle]], list[str], list[str]]:
        """The size of an image, its shapes with their masks, a line for each bad shape, and one for each empty."""
        each = self.annotations[index]
        size = each.pixels()
        drawn, errors, warnings = [], list(each.errors), []
        for shape in each.shapes:
            where = f"{self.target_name(index)}: {shape.label!r} {shortened(shape.id)}"
            try:
                mask = draw(shape.outline, size)
            except ValueError as error:
                errors.append(f"{where} {one_line(error)}")
                continue
            if mask is None:
                warnings.append(f"{where} has no pixel in the image of {size[1]}x{size[0]}; it is left out")
            else:
                drawn.append((shape, mask))
        return size, drawn, errors, warnings

    def examine(self, index: int) -> Examined:
        try:
            size, drawn, errors, warnings = self._drawn(index)
        except ValueError as error:
            return Examined(None, [one_line(error)], [])
        return Examined(self._annotation(size, drawn), errors, warnings)


@dataclass
class ShapeMasks(_Shapes, SemanticData):
    """A split of images with shapes, which are drawn as a mask when it is asked for, over a background of 0."""

    def mask(self, index: int) -> np.ndarray:
        return self.examine(index).checked()

    def _annotation(self, size: tuple[int, int], drawn: list[tuple[Shape, Rle]]) -> np.ndarray:
        mask = np.zeros(size, np.uint8)
        for shape, rle in drawn:
            name = shape.label.lower()
            id = 0 if name in BACKGROUND else IGNORE if name in VOID else self.class_of[shape.label]
            mask[coder().decode(rle).astype(bool)] = id
        return mask


@dataclass
class ShapeObjects(_Shapes, InstanceData):
    """A split of images with shapes, one object for each, or for each group of them."""

    def objects(self, index: int) -> Objects:
        return self.examine(index).checked()

    def _annotation(self, size: tuple[int, int], drawn: list[tuple[Shape, Rle]]) -> Objects:
        parts: dict[Any, list[tuple[Shape, Rle]]] = defaultdict(list)
        for i, (shape, rle) in enumerate(drawn):
            if shape.label in self.class_of:  # else background or void
                key = (shape.label, shortened(shape.group)) if shape.group is not None else i
                parts[key].append((shape, rle))
        return Objects.of(size, [self._object(each) for each in parts.values()])

    def _object(self, parts: list[tuple[Shape, Rle]]) -> FoundObject:
        mask = parts[0][1] if len(parts) == 1 else coder().merge([rle for _, rle in parts])
        x, y, w, h = coder().toBbox(mask).tolist()
        shape = parts[0][0]
        area = float(coder().area(mask))
        return FoundObject((x, y, x + w, y + h), self.class_of[shape.label], mask, False, area, shape.id)

    def target_bytes(self, index: int) -> bytes:
        _, drawn, _, _ = self._drawn(index)
        digest = hashlib.sha256()
        for shape, rle in drawn:
            digest.update(f"{shape.label} {shape.group} {rle['size']}".encode() + rle["counts"])
        return digest.digest()


def draw(outline: Polygon | Bitmap, size: tuple[int, int]) -> Rle | None:
    """The mask of a shape in an image of ``size``, ``(H, W)``; None if it has no pixel there.

    Raises:
        ValueError: it cannot be drawn; the message is to be read after the shape's name.
    """
    if isinstance(outline, Polygon):
        rle, _ = read_segmentation(outline.rings, size)
        holes = read_segmentation(list(outline.holes), size)[0] if outline.holes and rle else None
        if not holes:
            return rle
        mask = coder().decode(rle) & ~coder().decode(holes) & 1
    else:
        pixels = outline.pixels()
        mask = np.zeros(size, np.uint8)
        top, left = max(0, outline.top), max(0, outline.left)
        part = pixels[top - outline.top :, left - outline.left :]
        height, width = (max(0, min(part.shape[i], size[i] - (top, left)[i])) for i in (0, 1))
        mask[top : top + height, left : left + width] = part[:height, :width]
    return encode(mask) if mask.any() else None


def box(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    """A box, by two of its corners."""
    return Polygon([[x0, y0, x1, y0, x1, y1, x0, y1]])


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0) -> Polygon:
    """An ellipse by its centre and half axes, turned clockwise about its centre."""
    t = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    points = np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], 1)
    return turned(Polygon([points.ravel().tolist()]), degrees, (x, y))


def turned(polygon: Polygon, degrees: float, about: tuple[float, float]) -> Polygon:
    """A polygon turned clockwise, as seen on the image, about a point."""
    if not degrees:
        return polygon
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rings = [(np.reshape(ring, (-1, 2)) - about) @ np.array([[c, s], [-s, c]]) + about for ring in polygon.rings]
    return Polygon([ring.ravel().tolist() for ring in rings])


@contextmanager
def part_of_file(part: Any) -> Iterator[None]:
    """Context manager in which a part of an annotation file is read, which may hold anything in place of anything.

    Raises:
        ValueError: it has values of other types than are read, or numbers out of any range, or lacks some.
    """
    try:
        yield
    except KeyError as error:
        raise ValueError(f"has no {shortened(error.args[0])}") from error
    except (TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise ValueError(f"cannot be read: {shortened(part)}") from error


def number(value: Any) -> float:
    """A number from a file, maybe as text.

    Raises:
        ValueError: it is something else, or not finite.
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"has {shortened(value)}, expected a number")
    return found


def flat(points: Any) -> list[float]:
    """``[x0, y0, x1, ...]`` of ``[[x0, y0], ...]`` from a file; at least three points.

    Raises:
        ValueError: they are something else.
    """
    try:
        numbers = [float(each) for x, y in points for each in (x, y)]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"has points that are no pairs of numbers: {shortened(points)}") from error
    if len(numbers) < 6:
        raise ValueError(f"has {len(numbers) // 2} points, expected 3 or more")
    return numbers


def from_picture(content: bytes) -> np.ndarray:
    """``(H, W)`` bool from an image file: where it is not transparent, or else not black.

    Raises:
        ValueError: it cannot be read.
    """
    with decoding("has a bitmap"), Image.open(io.BytesIO(content)) as image:
        if "A" in image.getbands() or "transparency" in image.info:
            return np.array(image.convert("RGBA").getchannel("A")) > 0
        return np.array(image.convert("L")) > 0


def from_base64(text: str) -> np.ndarray:
    """`from_picture` of an image file as base64, or as an address ``data:image/png;base64,...``.

    Raises:
        ValueError: it cannot be read.
    """
    with part_of_file(text):
        return from_picture(bytes_of_base64(text.rpartition(",")[2], "a mask"))


def bytes_of_base64(text: str, what: str) -> bytes:
    """The content of ``what``, as base64 in a file of annotations.

    Raises:
        ValueError: it is no base64.
    """
    try:
        return base64.b64decode(text)
    except binascii.Error as error:
        reason = one_line(error)
    except ValueError:
        reason = "it has characters that base64 has not"
    raise ValueError(f"has {what} that cannot be read ({reason})")


def from_row_runs(lengths: Sequence[int], height: int, width: int) -> np.ndarray:
    """``(H, W)`` bool from lengths of runs of 0, 1, 0, ... along the rows.

    Raises:
        ValueError: they are no whole numbers, or do not add up to the number of pixels.
    """
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f"has a bitmap of {width}x{height}")
    if not all(type(length) is int and length >= 0 for length in lengths) or sum(lengths) > height * width:
        raise ValueError(f"has run lengths of {shortened(sum(lengths))} pixels, expected {height * width}")
    bits = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return np.pad(bits, (0, height * width - bits.size)).reshape(height, width)
