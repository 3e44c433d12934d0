"""Objects drawn over an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..drawing import check_alpha
from ..names import write_names
from .masks import PackedMasks

_SHADES = (0.0, 0.3, -0.2, 0.15, -0.35, 0.45)  # objects of a class next to each other differ: to white, or to black
_STRIP_PIXELS = 1 << 20  # of a mask that are drawn at a time, which bounds the memory


def draw_instances(
    image: Image.Image,
    masks: PackedMasks,
    labels: Sequence[int],
    classes: tuple[str, ...],
    palette: tuple[tuple[int, int, int], ...],
    alpha: float = 0.5,
) -> Image.Image:
    """Fill and outline masks, the first above the others, and write the names of those with room for them.

    Args:
        image: RGB.
        masks: of its objects.
        labels: class id of each.
        classes, palette: name and RGB colour (0..255) of each class.
        alpha: opacity of the fill, from 0 to 1.

    Raises:
        ValueError: ``alpha`` is not in 0..1.
    """
    check_alpha(alpha)
    canvas = np.array(image)
    width = outline_width(image)
    for i in reversed(range(len(masks))):
        x0, y0, x1, y1 = masks.windows[i]
        if x1 > x0 and y1 > y0:
            fill(canvas[y0:y1, x0:x1], masks.within(i), shaded(palette[labels[i]], i), alpha, width)
    picture = Image.fromarray(canvas)
    write_names(
        picture,
        [(classes[label], palette[label]) for label in labels],
        ((masks.within(i), x0, y0) for i, (x0, y0, _, _) in enumerate(masks.windows)),
    )
    return picture


def outline_width(image: Image.Image) -> int:
    """Width in pixels of the outlines in an image of this size."""
    return max(1, round(min(image.size) / 400))


def shaded(colour: tuple[int, int, int], number: int) -> tuple[int, int, int]:
    """A colour of a class, a little lighter or darker from object to object."""
    shade = _SHADES[number % len(_SHADES)]
    goal = 255 if shade > 0 else 0
    return tuple(round(channel + abs(shade) * (goal - channel)) for channel in colour)


def fill(pixels: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], alpha: float, width: int) -> None:
    """Blend a colour into the pixels ``(h, w, 3)`` under a mask ``(h, w)``, and draw its outline, in place.

    The outline lies inside the mask, ``width`` pixels wide, in the lighter of colour and white or the darker of colour
    and black, whichever stands out against the colour.
    """
    rgb = np.array(colour, np.float32)
    bright = rgb @ (0.299, 0.587, 0.114) > 110
    outline = (rgb if bright else 0.4 * rgb + 0.6 * 255).astype(np.uint8)
    blended = ((1 - alpha) * np.arange(256)[:, None] + alpha * rgb).astype(np.uint8)  # of each value of each channel
    step = max(1, _STRIP_PIXELS // max(1, mask.shape[1]))
    for top in range(0, len(mask), step):
        first = max(0, top - width)
        around = mask[first : top + step + width]  # with the rows that decide whether a pixel is on the outline
        inner = around
        for _ in range(width):
            inner = _eroded(inner)
        part, rows = pixels[top : top + step], slice(top - first, top - first + step)
        inner, edge = inner[rows][: len(part)], (around & ~inner)[rows][: len(part)]
        for channel, table in enumerate(blended.T):
            values = part[..., channel]
            values[inner] = table[values[inner]]
        part[edge] = outline


def _eroded(mask: np.ndarray) -> np.ndarray:
    """The pixels whose four neighbours are inside too; beyond the border is outside."""
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
