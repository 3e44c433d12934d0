"""Label maps as pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..drawing import check_alpha

_STRIP_ROWS = 512  # rows at a time, which bounds the extra memory of an overlay


def label_image(labels: np.ndarray, palette: tuple[tuple[int, int, int], ...] | None) -> Image.Image:
    """An image whose pixel values are the class ids: a palette image, or 16-bit gray for more than 256 classes.

    Args:
        labels: ``(H, W)`` class ids, uint8 or, above 256 classes, int64.
        palette: an RGB colour (0..255) for each class; None for gray.
    """
    if labels.dtype != np.uint8:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels)
    if palette is not None:
        picture.putpalette([channel for colour in palette for channel in colour])
    return picture


def overlay(
    image: Image.Image, labels: np.ndarray, palette: tuple[tuple[int, int, int], ...], alpha: float = 0.5
) -> Image.Image:
    """Draw the colours of the classes over an image.

    Args:
        image: RGB.
        labels: ``(H, W)`` class ids, of the size of the image.
        palette: an RGB colour (0..255) for each class.
        alpha: opacity of the colours, from 0 (the image alone) to 1 (the colours alone).

    Raises:
        ValueError: ``alpha`` is not in 0..1.
    """
    check_alpha(alpha)
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
    """Four pictures in a square: the image and the wrong pixels above the annotation and the prediction.

    Wrong pixels have the colour of the predicted class, all others are the dimmed image.

    Args:
        image: RGB.
        target: ``(H, W)`` class ids of the annotation. Ids beyond the palette are unlabelled: they are black, and no
            prediction is wrong there.
        labels: ``(H, W)`` predicted class ids.
        palette: an RGB colour (0..255) for each class.

    Returns:
        An RGB image of twice the width and height.
    """
    table = np.zeros((max(256, len(palette) + 1), 3), dtype=np.uint8)
    table[: len(palette)] = palette
    annotation, prediction = (table[np.minimum(ids, len(table) - 1)] for ids in (target, labels))
    dimmed = np.asarray(image.convert("L"))[..., None] // 2
    is_wrong = (target != labels) & (target < len(palette))
    wrong = np.where(is_wrong[..., None], prediction, dimmed)
    left, right = (np.asarray(image), annotation), (wrong, prediction)
    return Image.fromarray(np.concatenate([np.concatenate(column) for column in (left, right)], axis=1))
