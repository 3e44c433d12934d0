"""Average precision of boxes and masks, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from ...data.objects import InstanceSample, Objects
from ..task import Score
from .result import Instances

HEADLINE = "mask AP"
# The entries of COCOeval.stats: of all areas over all overlaps, at two overlaps, and of three ranges of areas.
_FIGURES = ("", "50", "75", " small", " medium", " large")
_TYPES = {"mask": "segm", "box": "bbox"}
_DETECTIONS = 100


class InstanceMeter:
    """The meter of instance segmentation, see `srzoo.tasks.task.Meter`. Masks are kept as run lengths.

    Crowds are neither found nor missed, and an image without objects counts its false detections.

    Args:
        classes: class names in order of id.
        brief: only mask AP, and no figure of each image.
    """

    def __init__(self, classes: tuple[str, ...], brief: bool = False):
        self.classes, self.brief = classes, brief
        self.images: list[tuple[tuple[int, int], list[dict], list[dict]]] = []  # size, annotated, found

    def update(self, result: Instances, sample: InstanceSample) -> float | None:
        """Add one image, and return its own mask AP; None if nothing in it is annotated.

        Args:
            result: the prediction.
            sample: the annotated image.
        """
        entry = (sample.objects.size, _annotations(sample.objects), result.to_coco(0, range(len(self.classes))))
        self.images.append(entry)
        if self.brief:
            return None
        stats = _evaluated([entry], self.classes, "segm")[0]
        return None if stats is None else float(max(stats[0], 0.0))

    def merge(self, other: InstanceMeter) -> None:
        self.images += other.images

    def score(self) -> Score | None:
        figures: dict[str, float] = {}
        by_class: dict[str, dict[str, float | None]] = {}
        for name, kind in list(_TYPES.items())[: 1 if self.brief else None]:
            stats, precision = _evaluated(self.images, self.classes, kind)
            if stats is None:
                return None
            # pycocotools has -1 for figures without objects, such as those of small ones.
            named = zip(_FIGURES, stats)
            figures |= {f"{name} AP{what}": float(value) for what, value in named if value >= 0}
            by_class |= _by_class(name, precision, self.classes)
        found = sum(len(found) for _, _, found in self.images)
        objects = sum(not each["iscrowd"] for _, annotated, _ in self.images for each in annotated)
        return Score(HEADLINE, figures, by_class, {"objects": objects, "detections": found})


def _annotations(objects: Objects) -> list[dict[str, Any]]:
    x0, y0, x1, y1 = objects.boxes.astype(float).T
    boxes = np.stack([x0, y0, x1 - x0, y1 - y0], 1).tolist()
    parts = zip(boxes, objects.classes.tolist(), objects.masks, objects.crowd.tolist(), objects.areas.tolist())
    return [
        {"bbox": box, "category_id": label, "segmentation": mask, "iscrowd": int(crowd), "area": area}
        for box, label, mask, crowd, area in parts
    ]


def _evaluated(
    images: list[tuple], classes: tuple[str, ...], kind: str
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """pycocotools' 12 figures, and precisions ``(T, R, K, A, M)``; None if no object is annotated."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotated = [{**each, "image_id": i} for i, (_, objects, _) in enumerate(images) for each in objects]
    if not any(not each["iscrowd"] for each in annotated):
        return None, None
    truth = {
        "info": {},
        "images": [{"id": i, "height": size[0], "width": size[1]} for i, (size, _, _) in enumerate(images)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes)],
        "annotations": [{**each, "id": 1 + i} for i, each in enumerate(annotated)],
    }
    found = [{**each, "image_id": i} for i, (_, _, entries) in enumerate(images) for each in entries]
    if kind == "segm":  # it would take the boxes' areas to tell small, medium and large
        found = [{name: value for name, value in each.items() if name != "bbox"} for each in found]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        coco, nothing = COCO(), COCO()
        coco.dataset, nothing.dataset = truth, {**truth, "annotations": []}
        coco.createIndex()
        nothing.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found) if found else nothing, kind)  # it cannot load an empty list
        evaluation.params.maxDets = [1, 10, _DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"]


def _by_class(name: str, precision: np.ndarray, classes: tuple[str, ...]) -> dict[str, dict[str, float | None]]:
    """AP and AP50 of each class; None for a class that does not occur."""

    def mean(values: np.ndarray) -> float | None:
        values = values[values > -1]
        return float(values.mean()) if values.size else None

    columns = {f"{name} AP": precision[:, :, :, 0, -1], f"{name} AP50": precision[:1, :, :, 0, -1]}
    return {
        column: {label: mean(values[:, :, i]) for i, label in enumerate(classes)} for column, values in columns.items()
    }
