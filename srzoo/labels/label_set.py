"""The classes of a model or a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Colour = tuple[int, int, int]

IGNORE = 255  # the id of void: pixels without a class


@dataclass(frozen=True)
class LabelSet:
    """A name and a colour for each class, in order of id.

    Attributes:
        classes: the names.
        palette: an RGB colour for each, 0 to 255.
        things: for a task that tells objects from surfaces, whether each class is of countable objects; else None.

    Raises:
        ValueError: they differ in length.
    """

    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    things: tuple[bool, ...] | None = None

    def __post_init__(self):
        if len(self.classes) != len(self.palette):
            raise ValueError(f"{len(self.classes)} classes but {len(self.palette)} colours")
        if self.things is not None and len(self.classes) != len(self.things):
            raise ValueError(f"{len(self.classes)} classes, but things has {len(self.things)} values")


def label_set(table: Mapping[str, Colour]) -> LabelSet:
    """A label set from a colour for each name, in order of id."""
    return LabelSet(tuple(table), tuple(table.values()))
