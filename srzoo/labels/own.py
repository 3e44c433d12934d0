"""Label sets of a user's own classes."""

from __future__ import annotations

from collections.abc import Sequence

from .label_set import Colour, LabelSet

MAX_CLASSES = 254  # ids are uint8: 255 is ignored, 254 marks what an id map does not know


def own_labels(names: Sequence[str], origin: str) -> LabelSet:
    """These classes in evenly spread colours.

    Args:
        names: in order of id.
        origin: of the names, for the error.

    Raises:
        ValueError: a name appears twice, or there are fewer than 2 classes or more than 254.
    """
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{origin}: the class {twice!r} is named twice")
    if not 2 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"{origin}: {len(names)} classes, expected 2 to {MAX_CLASSES}")
    return LabelSet(tuple(names), tuple(_spread_colour(i) for i in range(len(names))))


def numbered_labels(count: int) -> LabelSet:
    """``count`` classes without names, "class 0" and so on, in evenly spread colours."""
    return LabelSet(tuple(f"class {i}" for i in range(count)), tuple(_spread_colour(i) for i in range(count)))


def _spread_colour(index: int) -> Colour:
    """The VOC colour map's next colour: the bits of the id dealt out to the three channels, highest first."""
    index += 1  # VOC's 0 is black, which a label image reads as nothing
    rgb = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            rgb[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return tuple(rgb)
