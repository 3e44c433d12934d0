"""The outline of a mask as polygons, as COCO's annotations have them."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

# Headings of a boundary that has the mask at its right, rows downwards. A turn to the right adds 1.
_RIGHT, _DOWN, _LEFT, _UP = range(4)


def polygons(mask: np.ndarray, x0: int = 0, y0: int = 0) -> list[list[int]]:
    """The connected parts of a mask as polygons along the borders of its pixels, which cover the mask exactly.

    Pixels are connected through their sides. COCO's polygons have no holes: a polygon goes along a vertical slit
    without width to each of its holes, around it and back.

    Args:
        mask: ``(h, w)`` bool.
        x0, y0: position of its left upper corner in the image, in pixels.

    Returns:
        For each part x and y of its corners in pixels, in turn: ``[x, y, x, y, ...]``.
    """
    corners = _Corners(mask)
    outer, holes = corners.rings()
    for first in holes:
        corners.cut_to_hole(first)
    return [corners.flat(first, x0, y0) for first in outer]


class _Corners:
    """The corners of the boundary of a mask, linked into rings: clockwise around parts, the other way around holes."""

    def __init__(self, mask: np.ndarray):
        self.mask = mask
        starts, headings, ends = _runs(np.pad(mask, 1))
        width = mask.shape[1] + 1
        keys = (starts[:, 0] * width + starts[:, 1]) * 4 + headings
        order = np.argsort(keys)
        sorted_keys = keys[order]
        at_end = (ends[:, 0] * width + ends[:, 1]) * 4
        # Where pixels touch at a corner alone, two runs end and two start: a turn to the right stays at the pixel.
        right, left = at_end + (headings + 1) % 4, at_end + (headings - 1) % 4
        place = np.searchsorted(sorted_keys, right)
        is_right = sorted_keys[np.minimum(place, len(keys) - 1)] == right if len(keys) else np.zeros(0, bool)
        place = np.where(is_right, place, np.searchsorted(sorted_keys, left))
        self.points = [tuple(point) for point in starts.tolist()]
        self.next: list[int] = order[place].tolist() if len(keys) else []
        # The runs to the right, whose mask lies below, by row: slits come from below. Where one ends, the run is split.
        self.tops: dict[int, list[int]] = defaultdict(list)
        for corner in np.flatnonzero(headings == _RIGHT).tolist():
            self.tops[self.points[corner][0]].append(corner)

    def rings(self) -> tuple[list[int], list[int]]:
        """The first corner of each part, and the highest corner of each hole, the highest hole first."""
        outer, holes = [], []
        seen = bytearray(len(self.points))
        for corner in range(len(self.points)):
            if seen[corner]:
                continue
            ring = [corner]
            while (following := self.next[ring[-1]]) != corner:
                ring.append(following)
            for each in ring:
                seen[each] = 1
            points = np.array([self.points[each] for each in ring], np.int64)
            ys, xs = points[:, 0], points[:, 1]
            if (xs * np.roll(ys, -1) - np.roll(xs, -1) * ys).sum() > 0:
                outer.append(corner)
            else:
                holes.append(min(ring, key=lambda each: self.points[each]))
        return outer, sorted(holes, key=lambda each: self.points[each])

    def cut_to_hole(self, hole: int) -> None:
        """Link a hole, by its highest corner, with the boundary above it, which holes above have joined already."""
        y, x = self.points[hole]
        is_inside = self.mask[:y, x - 1] & self.mask[:y, x]
        boundary = int(np.flatnonzero(~is_inside)[-1]) + 1 if not is_inside.all() else 0
        above = self._corner_at(boundary, x)
        before = hole
        while self.next[before] != hole:
            before = self.next[before]
        # above -> hole -> ... -> before -> a copy of hole -> a copy of above -> what followed above
        copy_of_above = self._added((boundary, x), self.next[above])
        self.next[before] = self._added((y, x), copy_of_above)
        self.next[above] = hole
        if above in self.tops[boundary]:  # the run continues from the copy
            self.tops[boundary].remove(above)
            self.tops[boundary].append(copy_of_above)

    def _corner_at(self, y: int, x: int) -> int:
        """The corner at a point of the boundary whose mask lies below, which is made if there is none."""
        for corner in self.tops[y]:
            following = self.next[corner]
            start, end = self.points[corner][1], self.points[following][1]
            if start == x:
                return corner
            if end == x:
                return following
            if start < x < end:
                middle = self._added((y, x), following)
                self.next[corner] = middle
                self.tops[y].append(middle)
                return middle
        raise AssertionError(f"no boundary at row {y}, column {x}")

    def _added(self, point: tuple[int, int], following: int) -> int:
        self.points.append(point)
        self.next.append(following)
        return len(self.points) - 1

    def flat(self, first: int, x0: int, y0: int) -> list[int]:
        """x and y of the ring from a corner on."""
        numbers, corner = [], first
        while True:
            y, x = self.points[corner]
            numbers += (x + x0, y + y0)
            corner = self.next[corner]
            if corner == first:
                return numbers


def _runs(padded: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The straight runs of the boundary of a mask with a border of False: ``(n, 2)`` y and x of start, heading, end."""
    starts, headings, ends = [], [], []
    for inside, heading in ((padded, _RIGHT), (padded.T, _DOWN)):
        # The border between a row and the one above: of the mask's upper sides, and of its lower sides.
        upper, lower = inside[1:] & ~inside[:-1], inside[:-1] & ~inside[1:]
        # Transposed, the mask's right sides are lower sides, and go downwards.
        for sides, is_forward in ((upper, heading == _RIGHT), (lower, heading == _DOWN)):
            change = np.diff(sides.astype(np.int8), axis=1)
            first, last = (np.argwhere(change == step) for step in (1, -1))
            if heading == _DOWN:
                first, last = first[:, ::-1], last[:, ::-1]
            starts.append(first if is_forward else last)
            ends.append(last if is_forward else first)
            headings.append(np.full(len(first), heading if is_forward else heading + 2))
    return np.concatenate(starts), np.concatenate(headings), np.concatenate(ends)
