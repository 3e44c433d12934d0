"""Panoptic quality (Kirillov et al., 2019): counts of matched segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...data.objects import Segment, areas_of

VOID = 0


@dataclass
class PanopticQuality:
    """Counts over images; everything is an integer but the sum of overlaps.

    A predicted and an annotated segment of one class match if their intersection over union is above one half, where
    pixels of the prediction that are void in the annotation do not count. A crowd never matches and is never missed. A
    predicted segment without a match is no false positive if more than half of it is void or crowd of its class.

    Attributes:
        num_classes: number of classes.
        matched, wrong, missed: ``(K,)`` int64 segments of each class: true positives, false positives and false
            negatives.
        overlap: ``(K,)`` float64 sum of the overlaps of matched segments.
    """

    num_classes: int
    matched: np.ndarray = field(init=False)
    wrong: np.ndarray = field(init=False)
    missed: np.ndarray = field(init=False)
    overlap: np.ndarray = field(init=False)

    def __post_init__(self):
        self.matched, self.wrong, self.missed = (np.zeros(self.num_classes, np.int64) for _ in range(3))
        self.overlap = np.zeros(self.num_classes)

    def update(
        self, ids: np.ndarray, classes: Mapping[int, int], annotated: np.ndarray, segments: Sequence[Segment]
    ) -> None:
        """Add one image.

        Args:
            ids: ``(H, W)`` predicted segment of each pixel, 0 for void.
            classes: class id of each predicted segment.
            annotated: ``(H, W)`` annotated segment of each pixel, 0 for void.
            segments: the annotated segments.

        Raises:
            ValueError: the maps differ in size, or a pixel has a segment that is not listed.
        """
        if ids.shape != annotated.shape:
            sizes = [f"{each.shape[1]}x{each.shape[0]}" for each in (ids, annotated)]
            raise ValueError(f"the prediction is {sizes[0]}, the annotation {sizes[1]}; they must be of one size")
        truth = {each.id: each for each in segments}
        both = _intersections(ids, annotated)
        area, true_area = _sums(both, 0), _sums(both, 1)
        for found, known, what in ((area, classes, "predicted"), (true_area, truth, "annotated")):
            unknown = next((id for id in found if id != VOID and id not in known), None)
            if unknown is not None:
                raise ValueError(f"a pixel has the {what} segment {unknown}, which is not in the list of segments")
        matched, matched_truth = set(), set()
        for (id, true_id), pixels in both.items():
            segment = truth.get(true_id)
            if id == VOID or segment is None or segment.crowd or segment.class_id != classes[id]:
                continue
            union = area[id] + true_area[true_id] - pixels - both.get((id, VOID), 0)
            if 2 * pixels > union:
                matched.add(id)
                matched_truth.add(true_id)
                self.matched[segment.class_id] += 1
                self.overlap[segment.class_id] += pixels / union
        crowds: dict[int, list[int]] = {}
        for each in segments:
            if each.crowd:
                crowds.setdefault(each.class_id, []).append(each.id)
            elif each.id not in matched_truth and each.id in true_area:
                self.missed[each.class_id] += 1
        for id in area:
            if id == VOID or id in matched:
                continue
            ignored = both.get((id, VOID), 0) + sum(both.get((id, crowd), 0) for crowd in crowds.get(classes[id], ()))
            if 2 * ignored <= area[id]:
                self.wrong[classes[id]] += 1

    def merge(self, other: PanopticQuality) -> None:
        """Add the counts of other images."""
        self.matched += other.matched
        self.wrong += other.wrong
        self.missed += other.missed
        self.overlap += other.overlap

    def by_class(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """PQ, SQ and RQ ``(K,)`` of each class, NaN for a class without any segment."""
        total = self.matched + 0.5 * self.wrong + 0.5 * self.missed
        with np.errstate(invalid="ignore"):
            recognition = self.matched / total
            quality = self.overlap / total
        segmentation = np.where(total > 0, self.overlap / np.maximum(self.matched, 1), np.nan)
        return quality, segmentation, recognition


def _intersections(ids: np.ndarray, annotated: np.ndarray) -> dict[tuple[int, int], int]:
    """Pixels of each pair of predicted and annotated segment."""
    pairs = ids.astype(np.int64) << 32 | annotated.astype(np.int64)
    return {(pair >> 32, pair & 0xFFFFFFFF): count for pair, count in areas_of(pairs).items()}


def _sums(pixels: Mapping[tuple[int, int], int], side: int) -> dict[int, int]:
    """Pixels of each predicted (``side`` 0) or annotated (1) segment."""
    sums: dict[int, int] = {}
    for pair, count in pixels.items():
        sums[pair[side]] = sums.get(pair[side], 0) + count
    return sums
