"""Names of objects, written on their masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from .drawing import Colour, font_for

_TEXT = 0.022  # height of a name, as a share of the picture's shorter side
_LEAST_TEXT = 11  # pixels
_CELLS = 6  # of the grid that places are looked for on, in the height of a name
_LEAST_SHARE = 0.25  # of a name that lies on its object


def write_names(
    picture: Image.Image, named: Sequence[tuple[str, Colour]], masks: Iterable[tuple[np.ndarray, int, int]]
) -> None:
    """Write the name of each object where most of it lies on what is visible of the object, in place.

    The place with the most of it is taken, of equals the first from the top. An object has no name if it is smaller
    than it, or if names of others are in all such places.

    Args:
        picture: RGB.
        named: name and RGB colour (0..255) of each object, the most important first, which is above the others.
        masks: of each object ``(h, w)`` bool and its position x0, y0 in the picture, in pixels.
    """
    draw = ImageDraw.Draw(picture)
    size = max(_LEAST_TEXT, round(_TEXT * min(picture.size)))
    font, step = font_for([name for name, _ in named], size), size // _CELLS
    cells = -(-picture.height // step), -(-picture.width // step)
    covered, taken = np.zeros(cells, bool), np.zeros(cells, bool)  # by objects, and by names
    for (name, colour), (mask, x0, y0) in zip(named, masks):
        part = mask[-y0 % step :: step, -x0 % step :: step]
        top, left = -(-y0 // step), -(-x0 // step)
        window = np.s_[top : top + part.shape[0], left : left + part.shape[1]]
        visible = part & ~covered[window]
        covered[window] |= part
        x, y, right, bottom = draw.textbbox((0, 0), name, font=font)
        width, height = right - x + 4, bottom - y + 2
        rows, columns = -(-height // step), -(-width // step)
        place = _place(visible, taken[window], rows, columns)
        if place is not None:
            row, column = top + place[0], left + place[1]
            taken[row : row + rows, column : column + columns] = True
            box = column * step, row * step, column * step + width - 1, row * step + height - 1
            draw.rectangle(box, fill=tuple(channel // 3 for channel in colour))
            draw.text((box[0] + 2 - x, box[1] + 1 - y), name, fill=(255, 255, 255), font=font)


def _place(visible: np.ndarray, taken: np.ndarray, rows: int, columns: int) -> tuple[int, int] | None:
    """Row and column of the block ``(rows, columns)`` within the extent of ``visible`` that has most of it.

    Args:
        visible: ``(h, w)`` bool.
        taken: ``(h, w)`` bool, of which the block has nothing.
    """
    ys, xs = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    if not len(ys) or ys[-1] - ys[0] + 1 < rows or xs[-1] - xs[0] + 1 < columns:
        return None
    extent = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    counts = _block_sums(visible[extent], rows, columns)
    counts[_block_sums(taken[extent], rows, columns) > 0] = 0
    row, column = np.unravel_index(counts.argmax(), counts.shape)
    return (int(ys[0] + row), int(xs[0] + column)) if counts[row, column] >= _LEAST_SHARE * rows * columns else None


def _block_sums(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The sum of each block ``(rows, columns)`` of ``(h, w)`` values: ``(h - rows + 1, w - columns + 1)`` integers."""
    sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
