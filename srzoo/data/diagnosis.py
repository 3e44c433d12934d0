"""What the values in masks mean, told from which there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from ..labels import IGNORE
from ..labels.own import MAX_CLASSES
from .masks import IdMap, Key, hex_colour

_MANY = 64  # values beyond which a mask is a photograph or was interpolated, rather than labelled
_STEP = 5  # between values that are shades of gray rather than ids
_VOID = {IGNORE: IGNORE}


@dataclass
class Diagnosis:
    """Errors in the field's words.

    Attributes:
        errors: one line each.
        id_map: proposed, where the masks can be used with another one.
        num_classes: that go with it, or what was given; None where the masks do not tell.
    """

    errors: list[str] = field(default_factory=list)
    id_map: dict[Key, int] | None = None
    num_classes: int | None = None


def diagnose(
    first_file: Mapping[int, str],
    id_map: IdMap,
    num_classes: int | None,
    colours: tuple[int, int],
    palettes: Mapping[int, set[int]],
) -> Diagnosis:
    """Judge the values of all masks.

    Args:
        first_file: the values that occur, colours packed, with the first file of each.
        id_map: how they would be read.
        num_classes: of the model, where it is known.
        colours: how many masks hold colours, and of how many.
        palettes: the colours of each value, where masks are palette files.
    """
    values = sorted(first_file)
    if not values:
        return Diagnosis(num_classes=num_classes)
    if not id_map.is_assumed:
        return _against_map(values, first_file, id_map, num_classes, colours)
    if colours[0]:
        return _colour_masks(values, first_file, colours)
    ambiguous = [value for value in values if len(palettes.get(value, ())) > 1]
    if ambiguous:
        return _changing_palettes(ambiguous[0], palettes)
    return _plain_ids(values, first_file, num_classes)


def _against_map(
    values: list[int], first_file: Mapping, id_map: IdMap, num_classes: int | None, colours: tuple[int, int]
) -> Diagnosis:
    unknown = [value for value in values if value not in id_map]
    count = num_classes or max(id_map.classes) + 1
    if colours[0] and not id_map.has_colours:
        text = f"{colours[0]} of {colours[1]} masks are RGB pictures, the id map has {id_map} ({_look(first_file)})"
        return Diagnosis([text], num_classes=count)
    if not unknown:
        return Diagnosis(num_classes=count)
    named = [hex_colour(value) if id_map.has_colours else str(value) for value in unknown]
    kind = "colours" if id_map.has_colours else "values"
    text = f"{kind} that are not in the id map: {_some(named)} (first in {first_file[unknown[0]]})"
    return Diagnosis([text], num_classes=count)


def _colour_masks(values: list[int], first_file: Mapping, colours: tuple[int, int]) -> Diagnosis:
    found, masks = colours
    if found < masks:
        return Diagnosis([f"{found} of {masks} masks are RGB, the others store ids; they must be of one kind"])
    if len(values) > _MANY:
        return Diagnosis([f"{_look(first_file)}: {_many(values)} different colours, so no mask of classes"])
    text = (
        f"the masks are RGB pictures, not ids: {_some([hex_colour(value) for value in values])} ({_look(first_file)})"
    )
    return Diagnosis([text], *_ranked_colours(values))


def _changing_palettes(value: int, palettes: Mapping[int, set[int]]) -> Diagnosis:
    seen = [hex_colour(colour) for colour in sorted(palettes[value])]
    text = f"the masks' palettes differ: value {value} is {_some(seen)}, so the colours are the classes, not the values"
    colours = sorted(set().union(*palettes.values()))
    return Diagnosis([text], *(_ranked_colours(colours) if len(colours) <= _MANY else ()))


def _ranked_colours(packed: list[int]) -> tuple[dict[Key, int], int]:
    """A class for each colour; black, which masks are drawn on, is the first."""
    return {(v >> 16, v >> 8 & 255, v & 255): i for i, v in enumerate(packed)}, len(packed)


def _plain_ids(values: list[int], first_file: Mapping, num_classes: int | None) -> Diagnosis:
    """Masks of integers that are read as they are."""
    ids = [value for value in values if value != IGNORE]
    is_in_range = num_classes is not None and (not ids or (ids[0] >= 0 and ids[-1] < num_classes))
    if not ids:
        return Diagnosis(["all masks are void: every pixel is 255"], num_classes=num_classes)
    if ids == [0] and IGNORE in values:
        text = "the masks hold 0 and 255 alone: drawn in black and white, and 255 means void here"
        return Diagnosis([text], {0: 0, IGNORE: 1}, 2)
    if is_in_range:
        return Diagnosis(num_classes=num_classes)
    if ids == [0]:
        return Diagnosis(["the masks hold 0 alone, so there is nothing to learn"])
    is_large = ids[0] < 0 or ids[-1] >= 1 << 16
    if is_large or (len(ids) > _MANY and (ids[-1] >= MAX_CLASSES or len(ids) < ids[-1])):
        text = f"{_look(first_file)}: {_many(ids)} different values from {ids[0]} to {ids[-1]}: "
        return Diagnosis([text + "instance ids, or a mask that was resized with interpolation; class ids are needed"])
    if len(ids) == 1:
        return Diagnosis([f"the masks hold {ids[0]} alone, so there is nothing to learn"])
    if ids[-1] < IGNORE and min(b - a for a, b in pairwise(ids)) >= _STEP:
        return _shades(ids, IGNORE in values, num_classes)
    if ids[-1] >= MAX_CLASSES and num_classes in (None, len(ids)):
        text = f"ids up to {ids[-1]}, where {MAX_CLASSES - 1} is the highest that can be: {_some(map(str, ids))}"
        return Diagnosis([text], {**{value: i for i, value in enumerate(ids)}, **_VOID}, len(ids))
    if ids[0] == 1 and num_classes in (None, ids[-1]):
        text = f"the ids start at 1: {_some(map(str, ids))}; 0 would be a class that never occurs"
        return Diagnosis([text], {**{i: i - 1 for i in range(1, ids[-1] + 1)}, **_VOID}, ids[-1])
    if num_classes is None:
        return Diagnosis(num_classes=ids[-1] + 1)
    if ids[-1] == num_classes:
        text = f"ids up to {num_classes} for {num_classes} classes: is 0 void, or are there {num_classes + 1} classes?"
        return Diagnosis([text], {0: IGNORE, **{i: i - 1 for i in range(1, num_classes + 1)}, **_VOID}, num_classes)
    beyond = [value for value in ids if not 0 <= value < num_classes]
    text = f"ids {_some(map(str, beyond))} beyond the {num_classes} classes (0..{num_classes - 1})"
    return Diagnosis([f"{text}, first in {first_file[beyond[0]]}"], num_classes=num_classes)


def _shades(ids: list[int], has_white: bool, num_classes: int | None) -> Diagnosis:
    """Shades of gray. White is one of them where the classes' number, or the spacing, says so."""
    widest = max((b - a for a, b in pairwise(ids)), default=0)
    is_class = has_white and (num_classes == len(ids) + 1 or (num_classes is None and IGNORE - ids[-1] <= 2 * widest))
    shades = [*ids, IGNORE] if is_class else ids
    text = f"the masks hold shades of gray, not ids: {_some(map(str, shades))}; if they are ids, say how many classes"
    id_map = {value: i for i, value in enumerate(shades)}
    return Diagnosis([text], id_map if is_class else {**id_map, **_VOID}, len(shades))


def _some(names) -> str:
    names = list(names)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _many(values: list[int]) -> str:
    return f"{len(values)} or more" if len(values) >= 4096 else str(len(values))


def _look(first_file: Mapping[int, str]) -> str:
    return next(iter(first_file.values()))
