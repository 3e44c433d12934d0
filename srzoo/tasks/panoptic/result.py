"""The result of panoptic segmentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ...labels import LabelSet
from ..result import ImageResult, Region
from ..saving import Saving
from ..task import Found, percent_of
from .maps import boxes_of
from .pictures import draw_segments, id_image


class FoundSegment(NamedTuple):
    """One segment of a result.

    Attributes:
        id: its value in the map of ids, 1 or more.
        class_id: of the label set.
        area: in pixels.
        score: of an object; None for a kind of surface.
    """

    id: int
    class_id: int
    area: int
    score: float | None


@dataclass(eq=False, repr=False)
class Panoptic(ImageResult):
    """The segments of one image, at the size of the image; equal to another one if all of their values are.

    Attributes:
        image: the input as upright RGB.
        ids: ``(H, W)`` int32, the segment of each pixel, 0 for void.
        segments: objects first, the highest score first, then surfaces.
        labels: the classes, with things.
    """

    image: Image.Image
    ids: np.ndarray
    segments: list[FoundSegment]
    labels: LabelSet

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order of id."""
        return self.labels.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """An RGB colour (0..255) for each class."""
        return self.labels.palette

    def __len__(self) -> int:
        return len(self.segments)

    def mask(self, which: str | int) -> np.ndarray:
        """``(H, W)`` bool, the pixels of a class, by its name, or of a segment, by its id, 0 for void.

        Raises:
            ValueError: there is no such class or segment.
        """
        if not isinstance(which, str):
            return self.ids == self._number(which, "segment", range(1 + len(self.segments)))
        class_id = self.class_id(which)
        return np.isin(self.ids, [each.id for each in self.segments if each.class_id == class_id])

    def _drawn(self, alpha: float) -> Image.Image:
        class_of = {each.id: each.class_id for each in self.segments}
        labels = dataclasses.replace(self.labels, palette=self.colours)
        return draw_segments(self.image, self.ids, class_of, labels, alpha)

    def found(self) -> list[Found]:
        """The classes with their share of the image and, of things, the number of objects; the largest first."""
        areas = np.zeros(len(self.classes), np.int64)
        counts = np.zeros(len(self.classes), np.int64)
        for each in self.segments:
            areas[each.class_id] += each.area
            counts[each.class_id] += 1
        lines = []
        for i in np.argsort(-areas, kind="stable"):
            if areas[i]:
                number = f" ({counts[i]})" if self.labels.things[i] else ""
                share = f"{percent_of(areas[i] / self.ids.size)}{number}"
                lines.append(Found(self.classes[i], share, self.colours[i]))
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Width and height in pixels, and id, class, area and score of each segment, as values that JSON can hold."""
        segments = [
            {
                "id": each.id,
                "class": self.classes[each.class_id],
                "is_thing": self.labels.things[each.class_id],
                "area": each.area,
                "score": None if each.score is None else round(each.score, 4),
            }
            for each in self.segments
        ]
        return {"width": self.image.width, "height": self.image.height, "segments": segments}

    def to_coco(self, category_ids: Sequence[int] | None = None) -> tuple[Image.Image, list[dict[str, Any]]]:
        """The segments as COCO's panoptic format has them.

        Args:
            category_ids: the dataset's id of each class; default 1, 2, ...

        Returns:
            An RGB image of the ids, ``R + 256 G + 65536 B``, and the entries of ``segments_info``.

        Raises:
            ValueError: there is not one category id for each class.
        """
        categories = self._category_ids(category_ids)
        boxes = boxes_of(self.ids, [each.id for each in self.segments])
        entries = [
            {
                "id": each.id,
                "category_id": categories[each.class_id],
                "area": each.area,
                "bbox": [int(x0), int(y0), int(x1 - x0), int(y1 - y0)],
                "iscrowd": 0,
            }
            for each, (x0, y0, x1, y1) in zip(self.segments, boxes)
        ]
        return id_image(self.ids), entries

    def regions(self) -> Iterator[Region]:
        """The pixels of each segment."""
        boxes = boxes_of(self.ids, [each.id for each in self.segments]).astype(int).tolist()
        for each, (x0, y0, x1, y1) in zip(self.segments, boxes):
            yield Region(each.class_id, self.ids[y0:y1, x0:x1] == each.id, x0, y0, each.score)

    def _contents(self, saving: Saving) -> dict[str, Callable[[], Any]]:
        return {"_panoptic.png": lambda: id_image(self.ids), "_panoptic.json": self.to_dict}
