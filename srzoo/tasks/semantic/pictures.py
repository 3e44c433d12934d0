"""Label maps as pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

_STRIP_ROWS = 512  # bounds the extra memory of an overlay, however large the image


def label_image(labels: np.ndarray, palette: tuple[tuple[int, int, int], ...]) -> Image.Image:
    """A palette image whose pixel values are the class ids; 16-bit gray for more than 256 classes.

    Args:
        labels: ``(H, W)``, uint8 or int64.
        palette: an RGB colour (0..255) per class.
    """
    if labels.dtype != np.uint8:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels)
    picture.putpalette([channel for colour in palette for channel in colour])
    return picture


def overlay(
    image: Image.Image, labels: np.ndarray, palette: tuple[tuple[int, int, int], ...], alpha: float = 0.5
) -> Image.Image:
    """The classes' colours laid over the RGB ``image`` of the labels' size; ``alpha`` 0 shows the image alone."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}")
    result = Image.new("RGB", image.size)
    table = np.asarray(palette, dtype=np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        colours = Image.fromarray(table[labels[top:bottom]])
        strip = image.crop((0, top, image.width, bottom))
        result.paste(Image.blend(strip, colours, alpha), (0, top))
    return result


def comparison(
    image: Image.Image, target: np.ndarray, labels: np.ndarray, palette: tuple[tuple[int, int, int], ...]
) -> Image.Image:
    """The RGB ``image`` above its annotation; beside them what is wrong, in the colours predicted, and the prediction.

    Args:
        target, labels: ``(H, W)`` ids, of the image's size; ids of the target beyond the palette are black, and no
            prediction is wrong there.
        palette: an RGB colour (0..255) per class.
    """
    table = np.zeros((max(256, len(palette) + 1), 3), dtype=np.uint8)
    table[: len(palette)] = palette
    annotation, prediction = (table[np.minimum(ids, len(table) - 1)] for ids in (target, labels))
    dimmed = np.asarray(image.convert("L"))[..., None] // 2
    is_wrong = (target != labels) & (target < len(palette))
    wrong = np.where(is_wrong[..., None], prediction, dimmed)
    left, right = (np.asarray(image), annotation), (wrong, prediction)
    return Image.fromarray(np.concatenate([np.concatenate(column) for column in (left, right)], axis=1))
