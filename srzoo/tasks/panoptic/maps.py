"""Maps of segments: the classes of their pixels, and the boxes around them.

Both work on the runs of equal ids along the rows, which are few; sorting the pixels would take long and much memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.objects import Segment, runs
from ...labels import IGNORE


def class_map(ids: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """``(H, W)`` uint8 class ids, 255 for void, of a map of segments."""
    values, starts, ends = runs(ids)
    class_of = {each.id: each.class_id for each in segments}
    classes = np.array([class_of.get(id, IGNORE) for id in values.tolist()], np.uint8)
    return np.repeat(classes, ends - starts).reshape(ids.shape)


def boxes_of(ids: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """``(n, 4)`` float32 x0, y0, x1, y1 in pixels of the segments with these ids, all of which occur in ``(H, W)``."""
    width = ids.shape[1]
    values, starts, ends = runs(ids)
    found, place = np.unique(values, return_inverse=True)
    rows, last_rows = starts // width, (ends - 1) // width
    # A run that goes on in the next row spans the whole width.
    is_one_row = rows == last_rows
    left = np.where(is_one_row, starts - rows * width, 0)
    right = np.where(is_one_row, ends - rows * width, width)
    boxes = np.empty((len(found), 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = ids.size, 0
    for reduce, column, of_run in (
        (np.minimum, 0, left),
        (np.minimum, 1, rows),
        (np.maximum, 2, right),
        (np.maximum, 3, last_rows + 1),
    ):
        reduce.at(boxes[:, column], place, of_run)
    order = np.searchsorted(found, np.asarray(wanted, np.int64))
    return boxes[order].astype(np.float32).reshape(-1, 4)
