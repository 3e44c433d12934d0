"""The classes that a model tells apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Colour = tuple[int, int, int]

IGNORE = 255  # the id of pixels without a class


@dataclass(frozen=True)
class LabelSet:
    """A name and an RGB colour (0..255) for each class, in order of id.

    Raises:
        ValueError: the two differ in number.
    """

    classes: tuple[str, ...]
    palette: tuple[Colour, ...]

    def __post_init__(self):
        if len(self.classes) != len(self.palette):
            raise ValueError(f"{len(self.classes)} classes but {len(self.palette)} colours")


def label_set(table: Mapping[str, Colour]) -> LabelSet:
    """The label set of a table from names to colours, in order of id."""
    return LabelSet(tuple(table), tuple(table.values()))
