"""Several masks of one image: those of several classes, or several versions of one mask, of which one is read."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..images import ImageError
from ..labels.own import MAX_CLASSES
from .masks import read_mask
from .roles import Entry, role_of, words

Places = list[tuple[Entry, list[Path]]]

_PEEKED = 3  # masks of a variant that are read
_OTHERS = re.compile(  # words of who drew a mask, or which of several it is, rather than of a class
    r"(annotator|annot|expert|reader|rater|observer|author|user|version|ver|v|ho|st|nd|manual|old|new|final|parts?)\d*"
)
_NOISE = 32  # how far the values of a black and white mask may be from both, if it was compressed


def variants_of(images: Places, masks: Places) -> Iterator[dict[str, Places]]:
    """The masks by the folders that images do not have, then by the words at the end of their names.

    Yields:
        The places of each variant by its name, best first; nothing if there are not several.
    """
    known = {part for place, _ in images for part in place.rest}
    by_folder: dict[tuple[str, ...], Places] = defaultdict(list)
    for place, paths in masks:
        extra = tuple(part for part in place.rest if part not in known)
        rest = tuple(part for part in place.rest if part in known)
        by_folder[extra].append((place._replace(rest=rest), paths))
    if 1 < len(by_folder) <= MAX_CLASSES:
        shared = set.intersection(*map(set, by_folder))
        yield _sorted({"/".join(part for part in extra if part not in shared): by_folder[extra] for extra in by_folder})
    by_ending: dict[str, Places] = defaultdict(list)
    for place, paths in masks:
        endings = defaultdict(list)
        for path in paths:
            endings[_ending(path.stem)].append(path)
        for ending, own in endings.items():
            by_ending[ending].append((place, own))
    by_ending = {ending: each for ending, each in by_ending.items() if sum(len(paths) for _, paths in each) > 1}
    if 1 < len(by_ending) <= MAX_CLASSES:
        yield _sorted(by_ending)


def _sorted(named: dict[str, Places]) -> dict[str, Places]:
    return dict(sorted(named.items(), key=lambda item: _preference(item[0]), reverse=True))


def _ending(stem: str) -> str:
    """The words after the last number of a name, in lower case: hair of 00012_hair."""
    return re.split(r"\d", stem)[-1].strip(" _-.()").lower()


def _preference(name: str) -> tuple:
    """A key that is higher for masks of classes than for others, and for a later version than for an earlier one."""
    rank = {"mask": 2, "": 1}.get(role_of(words(name)), 0)
    return rank, "trainid" in name.lower(), *map(int, re.findall(r"\d+", name))


def are_classes(named: dict[str, Places]) -> bool:
    """Whether variants are masks in black and white of several classes, which their names tell."""
    for name, places in named.items():
        said = {word for word in words(name) if not word.isdigit()}
        if not said or role_of(said) or any(map(_OTHERS.fullmatch, said)):
            return False
        if not _are_binary([path for _, paths in places for path in paths]):
            return False
    return True


def _are_binary(paths: Sequence[Path]) -> bool:
    for path in paths[:: max(1, len(paths) // _PEEKED)][:_PEEKED]:
        try:
            values = np.unique(read_mask(path))
        except (ImageError, ImportError):  # a package is asked for where masks that were chosen are read
            return False
        if values.tolist() == [255]:  # white throughout
            continue
        has_noise = 255 - _NOISE < values.max() <= 255 and ((values < _NOISE) | (values > 255 - _NOISE)).all()
        if 0 not in values or (len(values) > 2 and not has_noise):
            return False  # ids
    return True


def class_name(variant: str) -> str:
    """The name of a class from that of a folder: Microaneurysms of "1. Microaneurysms"."""
    return re.sub(r"^\d+[.)]?[\s_-]*(?=\D)", "", variant.rpartition("/")[2])


def drawn(path: Path) -> np.ndarray:
    """``(H, W)`` bool of a mask in black and white: where it is not black.

    Raises:
        ImageError: it cannot be read.
    """
    mask = read_mask(path)
    mask = mask if mask.ndim == 2 else mask.max(2)
    return mask > (_NOISE if mask.dtype == np.uint8 and mask.max(initial=0) > 255 - _NOISE else 0)
