"""Maps of segments: the classes of their pixels, and the boxes around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.objects import Segment
from ...labels import IGNORE


def class_map(ids: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """``(H, W)`` uint8 class ids, 255 for void, of a map of segments."""
    found, inverse = np.unique(ids, return_inverse=True)
    class_of = {each.id: each.class_id for each in segments}
    table = np.array([class_of.get(id, IGNORE) for id in found.tolist()], np.uint8)
    return table[inverse].reshape(ids.shape)


def boxes_of(ids: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """``(n, 4)`` x0, y0, x1, y1 in pixels of the segments with these ids, in one pass over the map."""
    found, inverse = np.unique(ids, return_inverse=True)
    inverse = inverse.reshape(ids.shape)
    height, width = ids.shape
    low = np.full((len(found), 2), max(height, width))
    high = np.zeros((len(found), 2), np.int64)
    for y in range(height):  # a row at a time: the segments in it, and where each begins and ends
        row = inverse[y]
        present, first = np.unique(row, return_index=True)
        last = width - np.unique(row[::-1], return_index=True)[1]
        low[present] = np.minimum(low[present], np.stack([first, np.full_like(first, y)], 1))
        high[present] = np.maximum(high[present], np.stack([last, np.full_like(last, y + 1)], 1))
    place = {id: i for i, id in enumerate(found.tolist())}
    index = [place[id] for id in wanted]
    return np.concatenate([low[index], high[index]], 1).astype(np.float32).reshape(-1, 4)
