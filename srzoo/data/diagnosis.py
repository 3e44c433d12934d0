"""What the values in masks mean, judged by which of them occur."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..labels import IGNORE
from ..labels.own import MAX_CLASSES
from ..messages import and_more
from .masks import IdMap, Key, hex_colour

MAX_VALUES = 4096  # different values that are counted; no set of ids has as many
MANY_VALUES = 64  # with more values than this a mask was not labelled: it is a photograph, or was interpolated
_STEP = 5  # values at least this far apart are shades of gray rather than ids
_SHOWN = 12  # values that a message lists
_VOID = {IGNORE: IGNORE}
_NONE = MappingProxyType({})
_NOISE = 24  # how far compression or smoothing moves a channel, at most
_FAR = 31  # from black or white, that a value of a smoothed mask still is near to it
_EXACT = 5  # how far it moves a channel within a plain area
_PEAK = 0.5  # of the pixels near a value, this share has it so exactly, if it is one that was drawn
_NEARLY_ALL = 0.93  # share of all pixels that are near one, below which a rare class may have been overlooked
_COVERED = 0.85  # share of all pixels that are near a value that was drawn
_MIXED = 0.01  # share of all pixels up to which a value between two others is a mixture of both
_RAREST = 0.0005  # share of all pixels that have a value that was drawn


@dataclass
class Diagnosis:
    """What is wrong with the values in masks.

    Attributes:
        errors: one line each.
        id_map: a proposed one, if the masks can be used with it.
        num_classes: the number under that map, or the given one; None if the masks do not tell.
        snap: whether values beside those of the map are to be read as the nearest of them.
    """

    errors: list[str] = field(default_factory=list)
    id_map: dict[Key, int] | None = None
    num_classes: int | None = None
    snap: bool = False


def diagnose(
    first_file: Mapping[int, str],
    id_map: IdMap,
    num_classes: int | None,
    colours: tuple[int, int],
    palettes: Mapping[int, set[int]],
    together: Mapping[frozenset[int], str] = _NONE,
) -> Diagnosis:
    """Judge the values of all masks.

    Args:
        first_file: the first file with each value that occurs, colours packed as by `srzoo.data.masks.pack`.
        id_map: the map that they would be read with.
        num_classes: of the model, if known.
        colours: number of masks with colours, and number of masks.
        palettes: the packed colours that palette files give each value.
        together: the first file with each set of values that one mask holds.
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
    if two := _two_encodings(values, together):
        return two
    return _plain_ids(_Ids(values, first_file, num_classes))


def diagnose_noise(pixels: Mapping[int, int], has_colours: bool) -> Diagnosis | None:
    """Find the values that masks were drawn with, if all others are noise about them or mixtures of two.

    Args:
        pixels: number of pixels of each value, or of each packed colour.
        has_colours: which of both.
    """
    total = sum(pixels.values())
    values = sorted(pixels, key=lambda value: -pixels[value])[:MAX_VALUES]
    counts = np.array([pixels[value] for value in values])
    packed = np.array(values)
    places = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1) if has_colours else packed[:, None]
    drawn, near, is_free = [], 0, np.ones(len(values), bool)
    for i in range(len(values)):
        if counts[i] < _RAREST * total:
            break
        if not is_free[i]:
            continue
        distance = np.abs(places - places[i]).max(1)
        is_near = distance <= _NOISE
        if counts[distance <= _EXACT].sum() >= _PEAK * counts[is_near].sum():
            drawn.append(i)
            near += counts[is_near & is_free].sum()
        is_free &= ~is_near
    drawn = [
        i for n, i in enumerate(drawn) if counts[i] > _MIXED * total or not _lies_between(places[i], places[drawn[:n]])
    ]
    if not 2 <= len(drawn) <= MANY_VALUES or near < _COVERED * total:
        return None
    keys = sorted(values[i] for i in drawn)
    shown = _colour_names(keys) if has_colours else _numbers(keys)
    id_map, num_classes = _ranked_colours(keys) if has_colours else (_ranks(keys), len(keys))
    text = f"the masks have noise: {_count(values)} different values about {len(keys)}, {shown}"
    if near < _NEARLY_ALL * total:
        text += f"; {1 - near / total:.0%} of the pixels are far from these, maybe a rare class"
    return Diagnosis([text], id_map, num_classes, snap=True)


def _lies_between(place: np.ndarray, others: np.ndarray) -> bool:
    """Whether a value is near the line between two others, as mixtures at a border are."""
    for i, a in enumerate(others):
        for b in others[:i]:
            part = np.clip((place - a) @ (b - a) / max(1, (b - a) @ (b - a)), 0, 1)
            if np.abs(a + part * (b - a) - place).max() <= _NOISE:
                return True
    return False


def _against_map(
    values: list[int], first_file: Mapping, id_map: IdMap, num_classes: int | None, colours: tuple[int, int]
) -> Diagnosis:
    unknown = [value for value in values if value not in id_map]
    count = num_classes or max(id_map.classes) + 1
    if colours[0] and not id_map.has_colours:
        text = f"{colours[0]} of {colours[1]} masks are RGB pictures, the id map has {id_map} ({_first(first_file)})"
        return Diagnosis([text], num_classes=count)
    if not unknown:
        return Diagnosis(num_classes=count)
    kind = "colours" if id_map.has_colours else "values"
    named = and_more([id_map.key_name(value) for value in unknown], _SHOWN)
    text = f"{kind} that are not in the id map: {named} (first in {first_file[unknown[0]]})"
    return Diagnosis([text], num_classes=count)


def _colour_masks(values: list[int], first_file: Mapping, colours: tuple[int, int]) -> Diagnosis:
    found, masks = colours
    if found < masks:
        return Diagnosis([f"{found} of {masks} masks are RGB, the others store ids; they must be of one kind"])
    if len(values) > MANY_VALUES:
        return Diagnosis([f"{_first(first_file)}: {_count(values)} different colours, so it is not a mask of classes"])
    text = f"the masks are RGB pictures, not ids: {_colour_names(values)} ({_first(first_file)})"
    return Diagnosis([text], *_ranked_colours(values))


def _changing_palettes(value: int, palettes: Mapping[int, set[int]]) -> Diagnosis:
    seen = _colour_names(sorted(palettes[value]))
    text = f"the masks' palettes differ: value {value} is {seen}, so the colours are the classes, not the values"
    colours = sorted(set().union(*palettes.values()))
    return Diagnosis([text], *(_ranked_colours(colours) if len(colours) <= MANY_VALUES else ()))


def _two_encodings(values: Sequence[int], together: Mapping[frozenset[int], str]) -> Diagnosis | None:
    """The masks if some hold ids from 1 on and the others shades, as 0 and 1 in some and 0 and 255 in others.

    No mask holds both. Where 255 is void, some mask of many holds it beside an object.
    """
    ids = list(itertools.takewhile(lambda value: value in values, itertools.count(1)))
    shades = [value for value in values if value not in (0, *ids)]
    is_binary = ids == [1] and shades == [IGNORE]
    steps = [b - a for a, b in pairwise(shades)]
    if not ids or not (is_binary or (steps and min(steps) >= _STEP and shades[-1] >= 1 << 7)):
        return None
    shaded = [each for each in together if not each.isdisjoint(shades) and 0 in each]
    if not shaded or any(not each.isdisjoint(ids) and not each.isdisjoint(shades) for each in together):
        return None
    text = (
        f"masks of two encodings in one set: some hold {_numbers([0, *ids])}, others {_numbers([0, *shades])}, first "
        f"{together[shaded[0]]}; store all alike"
    )
    if is_binary:
        text += ", or say that 255 is void with --data.id_map '{0: 0, 1: 1, 255: 255}'"
    is_paired = len(ids) == len(shades)
    id_map = {0: 0} | _from_1(ids) | _from_1(shades) if is_paired else None
    return Diagnosis([text], id_map, len(ids) + 1 if is_paired else None)


def _from_1(values: Sequence[int]) -> dict[int, int]:
    return {value: i for i, value in enumerate(values, 1)}


def _ranked_colours(packed: list[int]) -> tuple[dict[Key, int], int]:
    """A class for each colour, and their number; black, the usual background, is the first."""
    return {(v >> 16, v >> 8 & 255, v & 255): i for i, v in enumerate(packed)}, len(packed)


class _Ids:
    """The values in masks of integers.

    Attributes:
        ids: the values without 255, in order; `low` and `high` are the first and the last.
        has_255: whether 255 occurs.
        first_file: the first file with each value.
        num_classes: of the model, if known.
    """

    def __init__(self, values: Sequence[int], first_file: Mapping[int, str], num_classes: int | None):
        self.ids = [value for value in values if value != IGNORE]
        self.low, self.high = (self.ids[0], self.ids[-1]) if self.ids else (0, 0)
        self.has_255 = IGNORE in values
        self.first_file, self.num_classes = first_file, num_classes

    def may_be(self, num_classes: int) -> bool:
        """Whether the model has that many classes, or an unknown number."""
        return self.num_classes in (None, num_classes)

    @property
    def are_instances(self) -> bool:
        """Whether they are too many, or too large, for class ids."""
        is_dense = len(self.ids) >= self.high and self.high < MAX_CLASSES
        return self.low < 0 or self.high >= 1 << 16 or (len(self.ids) > MANY_VALUES and not is_dense)

    @property
    def are_shades(self) -> bool:
        """Whether they are shades of gray."""
        return self.high < IGNORE and min((b - a for a, b in pairwise(self.ids)), default=0) >= _STEP

    @property
    def shades(self) -> list[int]:
        """The shades. White is one of them, rather than void, if the number of classes or the spacing says so."""
        widest = max((b - a for a, b in pairwise(self.ids)), default=0)
        is_evenly_spaced = self.num_classes is None and IGNORE - self.high <= 2 * widest
        is_class = self.has_255 and (self.num_classes == len(self.ids) + 1 or is_evenly_spaced)
        return [*self.ids, IGNORE] if is_class else self.ids

    @property
    def are_noisy(self) -> bool:
        """Whether they are near black and near white, as lossy compression or a resize leaves of two values."""
        dark = [value for value in self.ids if value <= _FAR]
        light = [value for value in self.ids if value >= IGNORE - _FAR]
        return len(dark) > 1 and len(light) > 1 and len(dark) + len(light) == len(self.ids) and self.high < IGNORE

    @property
    def beyond(self) -> list[int]:
        """Those that are not ids of the model's classes."""
        return [value for value in self.ids if not 0 <= value < self.num_classes]


class _Case(NamedTuple):
    """One reading of `_Ids`.

    Attributes:
        name: of the case.
        when: whether it applies, if none before it does.
        text: the error, or None.
        id_map: the one to propose, or None.
        num_classes: the number of classes, or None if the masks do not tell; with an id map, that of the map counts.
    """

    name: str
    when: Callable[[_Ids], bool]
    text: Callable[[_Ids], str] | None
    id_map: Callable[[_Ids], dict[int, int]] | None = None
    num_classes: Callable[[_Ids], int | None] = lambda m: m.num_classes


def _unknown(_: _Ids) -> None:
    return None


# Tried in this order: the first case that applies is the diagnosis.
_CASES = [
    _Case("all void", lambda m: not m.ids, lambda m: "all masks are void: every pixel is 255"),
    _Case(
        "black and white",
        lambda m: m.ids == [0] and m.has_255,
        lambda m: "the masks hold 0 and 255 alone: drawn in black and white, and 255 means void here",
        lambda m: {0: 0, IGNORE: 1},
    ),
    _Case(
        "black and white with noise",
        lambda m: m.are_noisy and m.may_be(2),
        lambda m: (
            f"the masks hold values near 0 and near 255: {_numbers(m.ids)}; drawn in black and white, and compressed "
            "with losses or resized"
        ),
        lambda m: {value: int(value > IGNORE // 2) for value in range(IGNORE + 1)},
    ),
    _Case(
        "ids of the model's classes",
        lambda m: m.num_classes is not None and not m.beyond,
        None,
    ),
    _Case(
        "instances or interpolation",
        lambda m: m.are_instances,
        lambda m: (
            f"{_first(m.first_file)}: {_count(m.ids)} different values from {m.low} to {m.high}: instance ids, "
            "or a mask that was resized with interpolation; class ids are needed, or --task instance for objects"
        ),
        num_classes=_unknown,
    ),
    _Case(
        "one value",
        lambda m: len(m.ids) == 1,
        lambda m: f"the masks hold {m.low} alone, so there is nothing to learn",
        num_classes=_unknown,
    ),
    _Case(
        "shades of gray",
        lambda m: m.are_shades,
        lambda m: (
            f"the masks hold shades of gray, not ids: {_numbers(m.shades)}; if they are ids, say how many classes"
        ),
        lambda m: _VOID | _ranks(m.shades),  # 255 may be one of them
    ),
    _Case(
        "ids too high",
        lambda m: m.high >= MAX_CLASSES and m.may_be(len(m.ids)),
        lambda m: f"ids up to {m.high}, but {MAX_CLASSES - 1} is the highest allowed: {_numbers(m.ids)}",
        lambda m: _ranks(m.ids) | _VOID,
    ),
    _Case(
        "ids from 1",
        lambda m: m.low == 1 and m.may_be(m.high),
        lambda m: f"the ids start at 1: {_numbers(m.ids)}; 0 would be a class that never occurs",
        lambda m: _ranks(range(1, m.high + 1)) | _VOID,
    ),
    _Case(
        "ids, and a model of any number of classes",
        lambda m: m.num_classes is None,
        None,
        num_classes=lambda m: m.high + 1,
    ),
    _Case(
        "one id too many",
        lambda m: m.high == m.num_classes,
        lambda m: f"ids up to {m.high} for {m.num_classes} classes: is 0 void, or are there {m.high + 1} classes?",
        lambda m: {0: IGNORE} | _ranks(range(1, m.high + 1)) | _VOID,
    ),
    _Case(
        "ids beyond the classes",
        lambda m: True,
        lambda m: (
            f"ids {_numbers(m.beyond)} beyond the {m.num_classes} classes (0..{m.num_classes - 1}), first in "
            f"{m.first_file[m.beyond[0]]}"
        ),
    ),
]


def _plain_ids(ids: _Ids) -> Diagnosis:
    """Of masks of integers that are read under the default map."""
    case = next(case for case in _CASES if case.when(ids))
    id_map = case.id_map and case.id_map(ids)
    num_classes = len(set(id_map.values()) - {IGNORE}) if id_map else case.num_classes(ids)
    return Diagnosis([case.text(ids)] if case.text else [], id_map, num_classes)


def _ranks(values: Sequence[int]) -> dict[int, int]:
    """A class for each value, in order."""
    return {value: i for i, value in enumerate(values)}


def _numbers(values: Sequence[int]) -> str:
    return and_more([str(value) for value in values], _SHOWN)


def _colour_names(packed: Sequence[int]) -> str:
    return and_more([hex_colour(value) for value in packed], _SHOWN)


def _count(values: Sequence[int]) -> str:
    return f"{len(values)} or more" if len(values) >= MAX_VALUES else str(len(values))


def _first(first_file: Mapping[int, str]) -> str:
    return next(iter(first_file.values()))
