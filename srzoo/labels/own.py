"""Label sets of a user's own classes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Integral

from ..messages import is_visible, shortened
from .label_set import Colour, LabelSet

MAX_CLASSES = 254  # ids are uint8: 255 is void, and 254 marks values that an id map lacks
MAX_NAME = 256  # characters, as in the header of a model file
MAX_OUTPUTS = 4096  # classes of a model; ids of masks limit a dataset to fewer


def own_labels(names: Sequence[str], origin: str, fewest: int = 2, most: int = MAX_CLASSES) -> LabelSet:
    """A label set of these classes, in colours that differ well.

    Args:
        names: in order of id.
        origin: where the names are from, for the error.
        fewest: the smallest number of classes: 1 if the background is not a class.
        most: the largest: `MAX_OUTPUTS` if no mask has their ids.

    Raises:
        ValueError: a name occurs twice, or could not be stored in a model file, or there are fewer than ``fewest``
            classes or more than ``most``.
    """
    odd = next((name for name in names if not 0 < len(name) <= MAX_NAME or not all(map(is_visible, name))), None)
    if odd is not None:
        raise ValueError(
            f"{origin}: a class has the name {shortened(odd)}, expected 1 to {MAX_NAME} characters, none of which "
            "controls a terminal; rename it"
        )
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{origin}: the class {twice!r} is named twice")
    if not fewest <= len(names) <= most:
        raise ValueError(f"{origin}: {len(names)} classes, expected {fewest} to {most}")
    return LabelSet(tuple(names), tuple(map(spread_colour, range(len(names)))))


def named_labels(classes: Sequence[str], palette: Sequence[Colour | str] | None = None) -> LabelSet:
    """A label set of names and colours that are given in Python.

    Args:
        classes: names in order of id.
        palette: for each a colour, as three numbers in 0..255 or as "#rrggbb"; by default colours that differ well.

    Raises:
        ValueError: a name occurs twice or is no string, or a colour is invalid or missing.
    """
    names = _in_order(classes)
    if names is None or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"classes must be a list of names in order of id, got {shortened(classes)}")
    labels = own_labels([str(name) for name in names], "classes", fewest=1)
    if palette is None:
        return labels
    colours = _in_order(palette)
    if colours is None:
        raise ValueError(f"palette must be a list of colours in order of id, got {shortened(palette)}")
    if len(colours) != len(names):
        raise ValueError(f"palette has {len(colours)} colours for {len(names)} classes; give one for each")
    return LabelSet(labels.classes, tuple(map(_colour, colours)))


def _in_order(values: object) -> list | None:
    """What a list, tuple or array holds; None of anything else, such as a string, a dict, or a set without an order."""
    is_listed = isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping, Set))
    return list(values) if is_listed else None


def labels_of(
    classes: Sequence[str] | None,
    palette: Sequence[Colour | str] | None,
    num_classes: int | None,
    things: Sequence[bool] | None = None,
) -> LabelSet | None:
    """The label set of names and colours, or of a number of classes; None without both.

    ``things`` says which of the classes are countable objects.

    Raises:
        ValueError: as of `named_labels`, or the arguments contradict each other.
    """
    if things is not None:
        labels = labels_of(classes, palette, num_classes)
        each = _in_order(things)
        if labels is None or each is None or not all(isinstance(one, bool) for one in each):
            raise ValueError(f"things must be True or False for each of classes or num_classes, got {things!r}")
        if len(each) != len(labels.classes):
            raise ValueError(f"things has {len(each)} values for {len(labels.classes)} classes; give one for each")
        return dataclasses.replace(labels, things=tuple(each))
    if classes is None:
        if palette is not None:
            raise ValueError("palette needs classes, the names of the classes it colours")
        return None if num_classes is None else numbered_labels(num_classes)
    labels = named_labels(classes, palette)
    if num_classes not in (None, len(labels.classes)):
        raise ValueError(
            f"num_classes={num_classes}, but there are {len(labels.classes)} classes; leave num_classes out"
        )
    return labels


def _colour(value: Colour | str) -> Colour:
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        return tuple(bytes.fromhex(value[1:]))
    parts = _in_order(value) or []
    if len(parts) != 3 or not all(isinstance(part, Integral) and 0 <= part <= 255 for part in parts):
        raise ValueError(f"palette: {value!r} is no colour; expected three numbers in 0..255, or '#rrggbb'")
    return tuple(map(int, parts))


def numbered_labels(count: int) -> LabelSet:
    """A label set of ``count`` classes named "class 0", "class 1", ..., in colours that differ well.

    Raises:
        ValueError: it is no whole number from 1 to 4096.
    """
    if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
        raise ValueError(
            f"num_classes must be a whole number of at least 1, got {shortened(count)}; names are passed as classes="
        )
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
