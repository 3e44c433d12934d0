"""Segments drawn over an image, and maps of ids as pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from ...labels import LabelSet
from ..drawing import check_alpha
from ..instance.pictures import shaded
from ..names import write_names
from .maps import boxes_of

_STRIP_ROWS = 512  # rows at a time, which bounds the extra memory of an overlay


def draw_segments(
    image: Image.Image, ids: np.ndarray, class_of: Mapping[int, int], labels: LabelSet, alpha: float = 0.5
) -> Image.Image:
    """Fill the segments, outline them, and write the names of objects with room for them.

    Args:
        image: RGB.
        ids: ``(H, W)``, the segment of each pixel, 0 for void.
        class_of: class id of each segment, the most important first.
        labels: the classes, with things.
        alpha: opacity of the colours, from 0 to 1.

    Raises:
        ValueError: ``alpha`` is not in 0..1.
    """
    check_alpha(alpha)
    colours = {0: (0, 0, 0)}
    for number, (id, class_id) in enumerate(class_of.items()):
        colour = labels.palette[class_id]
        colours[id] = shaded(colour, number) if labels.things[class_id] else colour
    picture = _coloured(image, ids, colours, alpha)
    objects = [id for id, class_id in class_of.items() if labels.things[class_id]]
    boxes = boxes_of(ids, objects).astype(int).tolist()
    write_names(
        picture,
        [(labels.classes[class_of[id]], labels.palette[class_of[id]]) for id in objects],
        ((ids[y0:y1, x0:x1] == id, x0, y0) for id, (x0, y0, x1, y1) in zip(objects, boxes)),
    )
    return picture


def _coloured(image: Image.Image, ids: np.ndarray, colours: dict[int, tuple], alpha: float) -> Image.Image:
    """Blend the colours of the segments into an image; void is the image alone, and borders are white."""
    known = np.array(sorted(colours))
    table = np.array([colours[id] for id in known], np.uint8)
    width = max(1, round(min(image.size) / 500))
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        part = ids[top:bottom]
        strip = image.crop((0, top, image.width, bottom))
        blended = np.asarray(Image.blend(strip, Image.fromarray(table[np.searchsorted(known, part)]), alpha)).copy()
        void = part == 0
        blended[void] = np.asarray(strip)[void]
        blended[_borders(ids, top, bottom, width)] = 255
        result.paste(Image.fromarray(blended), (0, top))
    return result


def _borders(ids: np.ndarray, top: int, bottom: int, width: int) -> np.ndarray:
    """Pixels of the rows ``top:bottom`` whose right or lower neighbour, ``width`` pixels on, is another segment."""
    rows = ids[top : bottom + width]
    border = np.zeros((bottom - top, ids.shape[1]), bool)
    for step in range(1, width + 1):
        border[:, :-step] |= rows[: bottom - top, :-step] != rows[: bottom - top, step:]
        below = rows[step : step + bottom - top]
        border[: len(below)] |= rows[: len(below)] != below
    return border


def id_image(ids: np.ndarray) -> Image.Image:
    """An RGB image of ``(H, W)`` ids: ``R + 256 G + 65536 B``."""
    channels = [(ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)]
    return Image.fromarray(np.stack(channels, 2))
