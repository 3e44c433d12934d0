"""Label maps as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..drawing import check_alpha, tiled

_NUMBERED, _LONGEST = 40, 24  # classes with numbers in a confusion matrix, characters of a name
_ROWS, _COLUMNS = "annotated, in percent of a row", "predicted, across"
_RIGHT, _WRONG = (8, 81, 156), (203, 24, 29)  # colours of a share of 1, on the diagonal and beside it
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


def confusion_picture(counts: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """A confusion matrix: a row for each class of the annotation, with the share of its pixels predicted as each class.

    Args:
        counts: ``(K, K)`` pixels, ``[annotation, prediction]``.
        classes: the ``K`` names.

    Returns:
        An RGB image. Shares are in percent; up to 40 classes have them as numbers, too.
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    has_numbers = len(classes) <= _NUMBERED
    cell, font = (44, ImageFont.load_default(13)) if has_numbers else (14, ImageFont.load_default(11))
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}" for name in classes]
    margin = round(max(font.getlength(name) for name in [*names, _ROWS, _COLUMNS])) + 12
    side = margin + cell * len(classes)
    picture = Image.new("RGB", (side + 8, side + 8), "white")
    upright = Image.new("RGB", (len(classes) * cell, margin), "white")
    draw = ImageDraw.Draw(picture)
    for i, name in enumerate(names):
        middle = margin + cell * i + cell // 2
        draw.text((margin - 6, middle), name, "black", font, "rm")
        label = Image.new("RGB", (margin, cell), "white")
        ImageDraw.Draw(label).text((6, cell // 2), name, "black", font, "lm")
        upright.paste(label.rotate(90, expand=True), (cell * i, 0))
    picture.paste(upright, (margin, 0))
    draw.text((4, 4), _ROWS, "gray", font)
    draw.text((4, 20), _COLUMNS, "gray", font)
    for row, column in np.ndindex(shares.shape):
        share = float(shares[row, column])
        left, top = margin + cell * column, margin + cell * row
        tint = tuple(round(255 + share * (channel - 255)) for channel in (_RIGHT if row == column else _WRONG))
        draw.rectangle((left, top, left + cell - 2, top + cell - 2), tint)
        if has_numbers and counts[row].any():
            ink = "white" if share > 0.6 else "black"
            draw.text((left + cell // 2, top + cell // 2), f"{100 * share:.1f}", ink, font, "mm")
    return picture


def comparison(
    image: Image.Image,
    target: np.ndarray,
    labels: np.ndarray,
    palette: tuple[tuple[int, int, int], ...],
    classes: Sequence[str],
) -> Image.Image:
    """Four pictures in a square: the image and the wrong pixels above the annotation and the prediction, captioned.

    A legend below them names the classes that occur.

    Wrong pixels have the colour of the predicted class, all others are the dimmed image.

    Args:
        image: RGB.
        target: ``(H, W)`` class ids of the annotation. Ids beyond the palette are unlabelled: they are black, and no
            prediction is wrong there.
        labels: ``(H, W)`` predicted class ids.
        palette: an RGB colour (0..255) for each class.
        classes: their names.

    Returns:
        An RGB image of twice the width and, without captions and legend, twice the height.
    """
    table = np.zeros((max(256, len(palette) + 1), 3), dtype=np.uint8)
    table[: len(palette)] = palette
    annotation, prediction = (table[np.minimum(ids, len(table) - 1)] for ids in (target, labels))
    dimmed = np.asarray(image.convert("L"))[..., None] // 2
    is_wrong = (target != labels) & (target < len(palette))
    wrong = np.where(is_wrong[..., None], prediction, dimmed)
    pixels = (
        (("image", image), ("wrong pixels, as predicted", wrong)),
        (("annotation", annotation), ("prediction", prediction)),
    )
    seen = np.union1d(np.unique(target), np.unique(labels))
    entries = [(classes[i], palette[i]) for i in seen if i < len(palette)]
    return tiled([[(caption, Image.fromarray(np.asarray(each))) for caption, each in row] for row in pixels], entries)
