"""Masks of single objects as run lengths, as pycocotools stores them, from whatever COCO's JSON has for a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..messages import importing, shortened

Rle = dict[str, Any]  # {"size": [H, W], "counts": bytes}: run lengths down the columns, compressed

_MIN_NUMBERS = 6  # of a polygon: three points
_LARGEST = 1e9  # no coordinate or side is larger, and JSON may have numbers that no float holds
_LONGEST = 1 << 22  # pixels of an outline: pycocotools takes 80 bytes for each, and does not look whether it gets them


def coder():
    """pycocotools' module of masks.

    Raises:
        ImportError: pycocotools is not installed.
    """
    with importing("masks of objects need", "pycocotools"):
        from pycocotools import mask
    return mask


def encode(mask: np.ndarray, corner: tuple[int, int] = (0, 0), size: tuple[int, int] | None = None) -> Rle:
    """The run lengths of a mask, ``(h, w)`` bool, as pycocotools has them.

    Args:
        mask: the mask, or its part within a window. The image's other pixels are never in memory.
        corner: x0, y0 of the window in pixels.
        size: ``(H, W)`` of the image in pixels; default that of the mask.

    Raises:
        ImportError: pycocotools is not installed.
    """
    (h, w), (x0, y0), (height, width) = mask.shape, corner, size or mask.shape
    padded = np.zeros((w, h + 2), bool)
    padded[:, 1:-1] = mask.T
    columns, rows = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), h + 1)
    changes = (columns + x0) * height + rows + y0
    # A run that ends with its column goes on if the next column begins with one.
    again = np.flatnonzero(changes[1:] == changes[:-1])
    changes = np.delete(changes, np.concatenate([again, again + 1]))
    counts = np.diff(changes, prepend=0, append=height * width).tolist()
    if counts[-1] == 0:  # the mask has the last pixel
        counts.pop()
    return coder().frPyObjects({"size": [height, width], "counts": counts}, height, width)


def read_segmentation(segmentation: Any, size: tuple[int, int]) -> tuple[Rle | None, list[str]]:
    """The mask of an annotation of COCO's JSON.

    Args:
        segmentation: polygons ``[[x0, y0, x1, ...], ...]`` in pixels, the points ``[[x0, y0], ...]`` of one, or run
            lengths, compressed or not.
        size: ``(H, W)`` of the image.

    Returns:
        The run lengths, or None if they have no pixel in the image; and a line for each polygon that was left out.

    Raises:
        ValueError: it is neither, or of another size, or its numbers are not finite or far outside of the image.
        ImportError: pycocotools is not installed.
    """
    if isinstance(segmentation, dict):
        rle, left_out = _from_runs(segmentation, size), []
    elif isinstance(segmentation, list) and segmentation:
        rle, left_out = _from_polygons(segmentation, size)
    elif segmentation is None or isinstance(segmentation, list):
        raise ValueError(
            "has no segmentation; an object needs a polygon, run lengths, or a bbox of x, y, width and height above 0"
        )
    else:
        raise ValueError(f"has a segmentation of type {type(segmentation).__name__}, expected polygons or run lengths")
    return (rle if rle is not None and coder().area(rle) else None), left_out


def _from_polygons(polygons: list, size: tuple[int, int]) -> tuple[Rle | None, list[str]]:
    if all(isinstance(each, (int, float)) for each in polygons):
        raise ValueError("has a segmentation that is a list of numbers, expected a list of polygons: [[x0, y0, ...]]")
    if len(polygons) >= _MIN_NUMBERS // 2 and all(isinstance(each, list) and len(each) == 2 for each in polygons):
        polygons = [[number for point in polygons for number in point]]  # the points of one polygon
    drawn, left_out = [], []
    for polygon in polygons:
        _check_polygon(polygon, size)
        if len(polygon) < _MIN_NUMBERS:
            left_out.append(f"has a polygon of {len(polygon)} numbers, expected {_MIN_NUMBERS} or more; it is left out")
        else:
            drawn.append(polygon)
    if not drawn:
        return None, left_out
    numbers = [number for polygon in drawn for number in polygon]
    if max(size) > 1 and min(numbers) >= 0 and max(numbers) <= 1 and not set(numbers) <= {0, 1}:
        raise ValueError(f"has coordinates from 0 to 1, expected pixels of an image of {_named(size)}; scale them")
    rle = coder()
    return rle.merge(rle.frPyObjects(drawn, *size)), left_out


def _check_polygon(polygon: Any, size: tuple[int, int]) -> None:
    if not isinstance(polygon, list) or not all(type(each) in (int, float) for each in polygon):
        raise ValueError(f"has a polygon that is not a list of numbers: {shortened(polygon)}")
    if len(polygon) % 2:
        raise ValueError(f"has a polygon of {len(polygon)} numbers, expected pairs of x and y")
    for i, number in enumerate(polygon):
        side, name = size[1 - i % 2], "xy"[i % 2]
        if not is_finite(number):
            raise ValueError(f"has {name} {shortened(number, 20)} in a polygon, expected a finite number")
        if not -side <= number <= 2 * side:
            raise ValueError(f"has {name} {number:g} in a polygon, far outside of the image of {_named(size)}")
    corners = np.array(polygon, float).reshape(-1, 2)
    length = np.abs(corners - np.roll(corners, 1, 0)).max(1, initial=0).sum()
    if length > _LONGEST:
        raise ValueError(f"has a polygon with an outline of {length:.0f} pixels, expected at most {_LONGEST}")


def is_finite(number: Any) -> bool:
    """Whether a value from JSON is a number that can be a coordinate."""
    return type(number) in (int, float) and abs(number) < _LARGEST


def _from_runs(runs: dict, size: tuple[int, int]) -> Rle:
    """Run lengths are checked first, as pycocotools writes beyond the mask if there are too many."""
    stated, counts = runs.get("size"), runs.get("counts")
    if list(stated if isinstance(stated, (list, tuple)) else ()) != [*size]:
        swapped = "; the two are swapped" if stated == [size[1], size[0]] else ""
        raise ValueError(f"has run lengths of size {shortened(stated)}, expected [height, width] = {[*size]}{swapped}")
    if isinstance(counts, str):
        counts = counts.encode("latin-1", "replace")
    lengths = _uncompressed(counts) if isinstance(counts, bytes) else counts
    if lengths == []:  # nothing is in the mask
        lengths = [size[0] * size[1]]
    if not isinstance(lengths, list) or not all(type(each) is int and each >= 0 for each in lengths):
        raise ValueError(f"has run lengths that cannot be read: {shortened(counts)}")
    pixels, expected = sum(lengths), size[0] * size[1]
    if pixels != expected:
        raise ValueError(f"has run lengths of {shortened(pixels)} pixels, expected {expected}, {_named(size)}")
    return coder().frPyObjects({"size": [*size], "counts": lengths}, *size)


def _uncompressed(text: bytes) -> list[int] | None:
    """The run lengths in pycocotools' compressed form (rleFrString), or None if it is no such text.

    Each number is a run of characters of five bits, lowest first, of which all but the last have bit 5 set; from the
    fourth number on they are differences from the number before the last.
    """
    characters = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(characters) or characters.min() < 0 or characters.max() > 63 or characters[-1] & 32:
        return None
    ends = np.flatnonzero(characters & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() > 6:  # more than 32 bits
        return None
    places = 5 * (np.arange(len(characters)) - np.repeat(starts, ends - starts + 1))
    numbers = np.add.reduceat((characters & 31) << places, starts)
    numbers -= np.where(characters[ends] & 16, 1 << (places[ends] + 5), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers.tolist()


def _named(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]} pixels"
