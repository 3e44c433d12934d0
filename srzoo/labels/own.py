"""Label sets of a user's own classes."""

from __future__ import annotations

from collections.abc import Sequence

from .label_set import Colour, LabelSet

MAX_CLASSES = 254  # ids are uint8: 255 is void, and 254 marks values that an id map lacks
MAX_OUTPUTS = 4096  # classes of a model; ids of masks limit a dataset to fewer


def own_labels(names: Sequence[str], origin: str, fewest: int = 2) -> LabelSet:
    """A label set of these classes, in colours that differ well.

    Args:
        names: in order of id.
        origin: where the names are from, for the error.
        fewest: the smallest number of classes: 1 if the background is not a class.

    Raises:
        ValueError: a name occurs twice, or there are fewer than ``fewest`` classes or more than 254.
    """
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{origin}: the class {twice!r} is named twice")
    if not fewest <= len(names) <= MAX_CLASSES:
        raise ValueError(f"{origin}: {len(names)} classes, expected {fewest} to {MAX_CLASSES}")
    return LabelSet(tuple(names), tuple(map(spread_colour, range(len(names)))))


def numbered_labels(count: int) -> LabelSet:
    """A label set of ``count`` classes named "class 0", "class 1", ..., in colours that differ well.

    Raises:
        ValueError: there are more than 4096.
    """
    if count > MAX_OUTPUTS:
        raise ValueError(f"{count:,} classes, expected at most {MAX_OUTPUTS:,}")
    return LabelSet(tuple(f"class {i}" for i in range(count)), tuple(spread_colour(i) for i in range(count)))


def spread_colour(index: int) -> Colour:
    """A colour of PASCAL VOC's colour map: three bits of the id at a time go to the channels, highest bit first."""
    index += 1  # VOC's 0 is black, its background
    rgb = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            rgb[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return tuple(rgb)
