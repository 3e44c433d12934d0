"""What is annotated in one image, if objects or segments are: the samples of the tasks "instance" and "panoptic"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..messages import and_more, one_line
from .rle import Rle, coder


@dataclass(frozen=True, eq=False)
class Objects:
    """The annotated objects of one image.

    Attributes:
        size: ``(H, W)`` of the upright image.
        boxes: ``(N, 4)`` float32 corners x0, y0, x1, y1 in pixels, within the image and not empty.
        classes: ``(N,)`` int64 class ids of the label set, from 0.
        masks: N masks.
        crowd: ``(N,)`` bool, whether it is a group of objects that were not drawn one by one.
        areas: ``(N,)`` float64 pixels, as annotated, else as counted.
        ids: the annotations' own ids, for messages: they may repeat or be None.
    """

    size: tuple[int, int]
    boxes: np.ndarray
    classes: np.ndarray
    masks: list[Rle]
    crowd: np.ndarray
    areas: np.ndarray
    ids: list

    @classmethod
    def of(cls, size: tuple[int, int], found: Sequence[FoundObject]) -> Objects:
        """Objects in an image of ``size``, ``(H, W)``."""
        return cls(
            size,
            np.array([each.box for each in found], np.float32).reshape(-1, 4),
            np.array([each.class_id for each in found], np.int64),
            [each.mask for each in found],
            np.array([each.crowd for each in found], bool),
            np.array([each.area for each in found], np.float64),
            [each.id for each in found],
        )

    def __len__(self) -> int:
        return len(self.masks)

    def decode(self, indices: Sequence[int]) -> np.ndarray:
        """``(n, H, W)`` uint8 masks, 0 or 1, of some of the objects.

        Raises:
            ImportError: pycocotools is not installed.
        """
        if not len(indices):
            return np.zeros((0, *self.size), np.uint8)
        masks = coder().decode([self.masks[i] for i in indices])  # (H, W, n), in columns
        return np.ascontiguousarray(masks.transpose(2, 0, 1))


class FoundObject(NamedTuple):
    """One of `Objects`: its box as four numbers, and the rest as there."""

    box: Sequence[float]
    class_id: int
    mask: Rle
    crowd: bool
    area: float
    id: Any


def found_in(ids: np.ndarray, kinds: Mapping[int, tuple[int, bool]]) -> list[FoundObject]:
    """The objects in a map of ids.

    Args:
        ids: ``(H, W)`` integers.
        kinds: the class id of each id that is an object, and whether it is a crowd. All of them occur.
    """
    height, width = ids.shape
    values, starts, ends = runs(ids.T)  # run lengths are of the columns
    found = []
    for id, (class_id, is_crowd) in kinds.items():
        own = values == id
        edges = np.stack([starts[own], ends[own]], 1).ravel()
        counts = np.diff(edges, prepend=0, append=ids.size).tolist()
        counts = counts if counts[-1] else counts[:-1]
        mask = coder().frPyObjects({"size": [height, width], "counts": counts}, height, width)
        x, y, w, h = coder().toBbox(mask).tolist()
        area = float((ends - starts)[own].sum())
        found.append(FoundObject((x, y, x + w, y + h), class_id, mask, is_crowd, area, id))
    return found


def areas_of(ids: np.ndarray) -> dict[int, int]:
    """The number of pixels of each id in a map of ids, ``(H, W)`` integers, in order of id."""
    values, starts, ends = runs(ids)
    found, places = np.unique(values, return_inverse=True)  # of the runs, which are few: of the pixels it takes long
    areas = np.zeros(len(found), np.int64)
    np.add.at(areas, places, ends - starts)
    return dict(zip(found.tolist(), areas.tolist()))


def runs(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The value of each run of equal numbers in an array read row by row, and where it starts and ends."""
    line = ids.ravel()
    starts = np.concatenate([[0], np.flatnonzero(line[1:] != line[:-1]) + 1])
    return line[starts], starts, np.append(starts[1:], line.size)


class InstanceSample(NamedTuple):
    """An image and its objects.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        objects: of size ``(H, W)``.
    """

    image: np.ndarray
    objects: Objects


class Segment(NamedTuple):
    """One segment of an image: an object, a group of objects (``crowd``), or all pixels of a kind of surface.

    Attributes:
        id: its value in the map of ids, 1 or more.
        class_id: of the label set, from 0.
        crowd: whether it is a group of objects that were not drawn one by one.
        area: its pixels in the map of ids, 1 or more.
    """

    id: int
    class_id: int
    crowd: bool
    area: int


class PanopticSample(NamedTuple):
    """An image and its segments.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        ids: ``(H, W)`` int32, for each pixel the id of its segment, or 0 for void.
        segments: one for each id but 0.
    """

    image: np.ndarray
    ids: np.ndarray
    segments: list[Segment]


class Examined(NamedTuple):
    """The annotation of one image, read to the end whatever is wrong with it.

    Attributes:
        found: `Objects`, or the ids ``(H, W)`` and segments, without what is wrong; None if nothing can be read.
        errors: a line for each mistake because of which the image is refused.
        warnings: a line for each mistake that is passed over, and how.
    """

    found: Any
    errors: list[str]
    warnings: list[str]

    def checked(self) -> Any:
        """What was found.

        Raises:
            ValueError: there is an error.
        """
        if self.errors:
            raise ValueError(and_more(self.errors))
        return self.found


def examined(read: Callable[[int], Any], index: int) -> Examined:
    """The outcome of a function that reads an annotation and raises at the first mistake."""
    try:
        return Examined(read(index), [], [])
    except ValueError as error:
        return Examined(None, [one_line(error)], [])
