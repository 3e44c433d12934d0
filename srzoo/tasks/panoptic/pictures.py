"""Segments drawn over an image, and maps of ids as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..instance.pictures import shaded, write_names
from .maps import boxes_of

if TYPE_CHECKING:
    from ...data.objects import PanopticSample
    from .result import Panoptic

_STRIP_ROWS = 512  # rows at a time, which bounds the extra memory of an overlay


def draw_segments(found: Panoptic, alpha: float = 0.5) -> Image.Image:
    """Fill the segments, outline them, and write the names of those with room for them.

    Args:
        found: the segments of an image.
        alpha: opacity of the colours, from 0 to 1.

    Raises:
        ValueError: ``alpha`` is not in 0..1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}")
    colours = {0: (0, 0, 0)}
    for number, each in enumerate(found.segments):
        colour = found.labels.palette[each.class_id]
        colours[each.id] = shaded(colour, number) if found.labels.things[each.class_id] else colour
    picture = _coloured(found.image, found.ids, colours, alpha)
    boxes = boxes_of(found.ids, [each.id for each in found.segments]).astype(int).tolist()
    named = [
        (tuple(box), found.classes[each.class_id], found.labels.palette[each.class_id])
        for each, box in zip(found.segments, boxes)
        if found.labels.things[each.class_id]
    ]
    write_names(picture, named)
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


def comparison(found: Panoptic, sample: PanopticSample) -> Image.Image:
    """The annotation beside the prediction, an RGB image of twice the width."""
    colours = {0: (0, 0, 0)}
    for number, each in enumerate(sample.segments):
        colour = found.labels.palette[each.class_id]
        colours[each.id] = shaded(colour, number) if found.labels.things[each.class_id] else colour
    annotated = _coloured(found.image, sample.ids, colours, 0.5)
    return Image.fromarray(np.concatenate([np.asarray(annotated), np.asarray(found.overlay())], axis=1))
