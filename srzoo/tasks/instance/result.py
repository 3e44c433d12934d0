"""The result of instance segmentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..result import ImageResult, Region, plain
from ..saving import Saving
from ..task import Found
from .masks import PackedMasks, chosen
from .pictures import draw_instances


@dataclass(eq=False, repr=False)
class Instances(ImageResult):
    """The objects found in one image, at the size of the image; the highest score first.

    Equal to another result if all of their values are.

    Attributes:
        image: the input as upright RGB.
        boxes: ``(N, 4)`` float32 x0, y0, x1, y1 in pixels.
        scores: ``(N,)`` float32 from 0 to 1.
        labels: ``(N,)`` int64 class ids.
        masks: ``masks[i]`` is ``(H, W)`` bool, ``masks[[0, 2]]`` or ``masks[scores > 0.8]`` some of them.
        classes: class names in order of id.
        palette: an RGB colour (0..255) for each class.
    """

    image: Image.Image
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: PackedMasks
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, which: Any) -> Instances:
        """Some of the objects, by an index, a slice, a list of indices or a bool for each.

        ``result[result.scores > 0.8]`` and ``result[result.labels == result.class_id("car")]`` are examples.

        Raises:
            IndexError: there is no such object, or ``which`` is another kind of value.
        """
        some = np.atleast_1d(chosen(len(self), which))
        parts = self.boxes[some], self.scores[some], self.labels[some], self.masks.select(some)
        result = Instances(self.image, *parts, self.classes, self.palette)
        result.georeference = self.georeference
        return result

    @property
    def names(self) -> list[str]:
        """The class name of each object."""
        return [self.classes[label] for label in self.labels]

    def _drawn(self, alpha: float) -> Image.Image:
        return draw_instances(self.image, self.masks, self.labels, self.classes, self.colours, alpha)

    def mask(self, which: str | int) -> np.ndarray:
        """``(H, W)`` bool, the pixels of all objects of a class, by its name, or of one object, by its index.

        Raises:
            ValueError: there is no such class or object.
        """
        if not isinstance(which, str):
            return self.masks[self._number(which, "object", range(len(self)))]
        union = np.zeros(self.masks.size, bool)
        for i in np.flatnonzero(self.labels == self.class_id(which)):
            x0, y0, x1, y1 = self.masks.windows[i]
            union[y0:y1, x0:x1] |= self.masks.within(i)
        return union

    def found(self) -> list[Found]:
        """The number of objects of each class, the most frequent first, with the best score."""
        counts = Counter(self.labels.tolist())
        best = {label: float(self.scores[self.labels == label].max()) for label in counts}
        order = sorted(counts, key=lambda label: (-counts[label], label))
        return [Found(self.classes[i], f"{counts[i]} (best {best[i]:.0%})", self.colours[i]) for i in order]

    def to_dict(self) -> dict[str, Any]:
        """Width and height in pixels, and class, score and box of each object, as values that JSON can hold."""
        objects = [
            {"class": name, "score": round(float(score), 4), "box": [round(float(side), 2) for side in box]}
            for name, score, box in zip(self.names, self.scores, self.boxes)
        ]
        return {"width": self.image.width, "height": self.image.height, "objects": objects}

    def to_coco(self, image_id: Any = 0, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """The objects as entries of COCO's results JSON, with masks as compressed run lengths.

        Args:
            image_id: the dataset's id of the image.
            category_ids: the dataset's id of each class; default 1, 2, ...

        Raises:
            ImportError: pycocotools is not installed.
            ValueError: there is not one category id for each class.
        """
        from ...data.rle import encode

        ids = self._category_ids(category_ids)
        entries = []
        for i, (label, score, box) in enumerate(zip(self.labels.tolist(), self.scores.tolist(), self.boxes.tolist())):
            rle = encode(self.masks.within(i), self.masks.windows[i][:2], self.masks.size)
            x0, y0, x1, y1 = box
            entries.append(
                {
                    "image_id": plain(image_id),
                    "category_id": ids[label],
                    "bbox": [round(side, 3) for side in (x0, y0, x1 - x0, y1 - y0)],
                    "score": round(score, 6),
                    "segmentation": {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()},
                }
            )
        return entries

    def regions(self) -> Iterator[Region]:
        """The pixels of each object."""
        for i, (x0, y0, _, _) in enumerate(self.masks.windows):
            yield Region(int(self.labels[i]), self.masks.within(i), x0, y0, float(self.scores[i]))

    def _contents(self, saving: Saving) -> dict[str, Callable[[], Any]]:
        return {"_objects.json": self._with_masks}

    def _with_masks(self) -> dict[str, Any]:
        """`to_dict` with run lengths of the masks."""
        content = self.to_dict()
        for entry, coco in zip(content["objects"], self.to_coco()):
            entry["segmentation"] = coco["segmentation"]
        return content
