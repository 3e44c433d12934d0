"""The classes of a model or a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    def order_in(self, other: LabelSet) -> tuple[int, ...] | None:
        """For each class its id in ``other``, found by its name; None if the two do not have the same names."""
        if self.classes == other.classes:
            return tuple(range(len(self.classes)))
        names = {*self.classes}
        if names != {*other.classes} or not len(names) == len(self.classes) == len(other.classes):
            return None
        return tuple(map(other.classes.index, self.classes))

    def reordered(self, order: Sequence[int]) -> LabelSet:
        """These classes in another order; ``order`` has the present id of each."""
        columns = (
            None if each is None else tuple(each[i] for i in order)
            for each in (self.classes, self.palette, self.things)
        )
        return LabelSet(*columns)

    def moved_from(self, other: LabelSet) -> str | None:
        """The first class that ``other`` has under another id; None if there is none."""
        own = zip(self.classes, other.classes)
        return next((name for name, theirs in own if name != theirs and name in other.classes), None)


def label_set(table: Mapping[str, Colour]) -> LabelSet:
    """A label set from a colour for each name, in order of id."""
    return LabelSet(tuple(table), tuple(table.values()))
