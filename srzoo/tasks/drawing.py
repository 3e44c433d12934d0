"""What the pictures of all tasks share: colours that stand out over a photograph, and the legend."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from PIL import Image, ImageDraw, ImageFont

from ..messages import visible

_GAMMA, _WHITE = 0.6, 0.15  # brighten dark colours most, and keep different colours different
_TEXT = 0.028  # height of a letter, as a share of the picture's shorter side
_LEAST_TEXT, _MOST_TEXT = 12, 400  # pixels
_LONGEST_NAME = 40  # characters
_BACKGROUND, _INK = (32, 32, 32), (255, 255, 255)

# Pillow's own has the letters of English alone. Those of Linux, macOS and Windows, found by name.
_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc"),
    *("Arial Unicode.ttf", "PingFang.ttc", "arial.ttf", "msyh.ttc", "msgothic.ttc", "malgun.ttf"),
)

Colour = tuple[int, int, int]


def drawn_colour(colour: Colour) -> Colour:
    """The colour that a class of this palette colour has in overlays and legends, where dark ones would hide the image.

    Palettes of street scenes are dark, and so are the shadows below them.
    """
    bright = (255 * (channel / 255) ** _GAMMA for channel in colour)
    return tuple(round(channel + _WHITE * (255 - channel)) for channel in bright)


def check_alpha(alpha: float) -> None:
    """Raises ValueError if an opacity is not in 0..1."""
    if not isinstance(alpha, Real) or not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be a number from 0 to 1, got {alpha!r}")


def text_size(size: tuple[int, int]) -> int:
    """Height in pixels of the letters of a legend for a picture of this size."""
    return min(max(_LEAST_TEXT, round(_TEXT * min(size))), _MOST_TEXT)


def font_for(names: Sequence[str], size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """A font of this height in pixels with all letters of some names, if Pillow's own or a usual one has them."""
    letters = "".join(sorted({letter for name in names for letter in name if letter.isprintable()}))
    usual = ImageFont.load_default(size)
    if letters.isascii():
        return usual
    for file in _FONTS:
        try:
            font = ImageFont.truetype(file, size)
        except OSError:  # not installed
            continue
        missing = bytes(font.getmask("\U0010ffff"))
        if all(bytes(font.getmask(letter)) != missing for letter in letters):
            return font
    return usual


def legend(entries: Sequence[tuple[str, Colour]], width: int, size: int) -> Image.Image:
    """Names beside patches of their colours, in as many lines as needed.

    Args:
        entries: name and colour of each class.
        width: of the picture in pixels; it is wider where a name needs it.
        size: height of the letters in pixels.

    Returns:
        An RGB image; its height follows from the entries, and is a single line without any.
    """
    names = [visible(name, _LONGEST_NAME) for name, _ in entries]
    font = font_for(names, size)
    patch, gap, line = size, round(0.6 * size), round(1.7 * size)
    widths = [patch + gap // 2 + round(font.getlength(name)) for name in names]
    width = max([width, *(each + 2 * gap for each in widths)])
    places, x, y = [], gap, gap // 2
    for each in widths:
        if x > gap and x + each + gap > width:
            x, y = gap, y + line
        places.append((x, y))
        x += each + 2 * gap
    picture = Image.new("RGB", (width, y + line + gap // 2), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for (left, top), name, (_, colour) in zip(places, names, entries):
        middle = top + line / 2
        draw.rectangle((left, middle - patch / 2, left + patch - 1, middle + patch / 2 - 1), colour, outline=_INK)
        draw.text((left + patch + gap // 2, middle), name, _INK, font, anchor="lm")
    return picture


def with_legend(picture: Image.Image, entries: Sequence[tuple[str, Colour]]) -> Image.Image:
    """A picture with its legend below, so that nothing of it is hidden and its own pixels keep their places."""
    if not entries:
        return picture
    below = legend(entries, picture.width, text_size(picture.size))
    whole = Image.new("RGB", (max(picture.width, below.width), picture.height + below.height), _BACKGROUND)
    whole.paste(picture, (0, 0))
    whole.paste(below, (0, picture.height))
    return whole


def tiled(rows: Sequence[Sequence[tuple[str, Image.Image]]], entries: Sequence[tuple[str, Colour]] = ()) -> Image.Image:
    """Pictures of one size in a grid, each with its caption above it, and a legend below them.

    Args:
        rows: of each row the captions and RGB pictures.
        entries: name and colour of each class in the legend.

    Returns:
        An RGB image.
    """
    width, height = rows[0][0][1].size
    size = min(text_size((width, height)), max(_LEAST_TEXT, width // 12))
    line = round(1.7 * size)
    across, bottom = width * len(rows[0]), (height + line) * len(rows)
    below = legend(entries, across, size) if entries else Image.new("RGB", (across, 0))
    whole = Image.new("RGB", (below.width, bottom + below.height), _BACKGROUND)
    whole.paste(below, (0, bottom))
    draw = ImageDraw.Draw(whole)
    for i, row in enumerate(rows):
        for j, (caption, picture) in enumerate(row):
            left, top = j * width, i * (height + line)
            draw.text((left + size // 2, top + line / 2), caption, _INK, font_for([caption], size), anchor="lm")
            whole.paste(picture, (left, top + line))
    return whole
