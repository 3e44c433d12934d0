"""Mask files, and the one table that turns what they store into class ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..images import ImageError, opened
from ..labels import IGNORE
from ..labels.own import MAX_CLASSES

_UNKNOWN = 254

Key = int | tuple[int, int, int]


def read_mask(path: str | Path, as_colours: bool = False) -> np.ndarray:
    """What a mask file stores: ``(H, W)`` integers, or ``(H, W, 3)`` uint8 colours.

    A palette image gives its indices. An RGB file whose channels are equal is gray, and gives that one.

    Args:
        as_colours: give colours in any case, those of the palette too.

    Raises:
        ImageError: the file cannot be read, or holds floating-point values.
    """
    with opened(path) as image:
        return mask_array(image, str(path), as_colours)


def mask_array(image: Image.Image, name: str, as_colours: bool = False) -> np.ndarray:
    """`read_mask` of a Pillow image."""
    if as_colours:
        return np.array(image.convert("RGB"))
    if image.mode == "1":
        return np.array(image, dtype=np.uint8)
    if image.mode in ("L", "P") or image.mode.startswith("I"):
        return np.array(image)
    if image.mode in ("LA", "PA", "La"):
        return np.array(image.getchannel(0))
    if image.mode == "F":
        raise ImageError(f"{name}: a mask of floating-point values; save class ids as 8-bit PNG")
    colours = np.array(image.convert("RGB"))
    is_gray = (colours == colours[..., :1]).all()
    return np.ascontiguousarray(colours[..., 0]) if is_gray else colours


@dataclass(frozen=True)
class Storage:
    """How a mask is stored.

    Attributes:
        encoding: "PNG", "JPEG", ..., or None where it is no file.
        has_channels: whether it is stored in colour, though it may be gray in all of them.
        palette: the packed colour of each index of a palette image.
    """

    encoding: str | None = None
    has_channels: bool = False
    palette: Mapping[int, int] = field(default_factory=dict)


def storage_of(image: Image.Image) -> Storage:
    """`Storage` of a Pillow image that can be read; the header alone tells most."""
    palette = {}
    if image.mode == "P":
        colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 1, 3)
        palette = dict(enumerate(pack(colours)[:, 0].tolist()))
    return Storage(image.format, len(image.getbands()) > 2, palette)


class IdMap:
    """From the values or colours in masks to class ids.

    Args:
        mapping: a class id, or 255 for void, for each value or each ``(R, G, B)``.
        is_assumed: whether nobody said so, and masks may as well store something else.

    Raises:
        ValueError: a key or an id that cannot be, or values and colours mixed.
    """

    def __init__(self, mapping: Mapping[Key, int], is_assumed: bool = False):
        self.mapping, self.is_assumed = dict(mapping), is_assumed
        self.has_colours = any(isinstance(key, tuple) for key in self.mapping)
        for key, class_id in self.mapping.items():
            if isinstance(key, tuple) != self.has_colours or not _is_key(key):
                raise ValueError(f"id map: {key!r} is neither a value from 0 to 65535 nor, as all others, a colour")
            if type(class_id) is not int or not (0 <= class_id < MAX_CLASSES or class_id == IGNORE):
                raise ValueError(
                    f"id map: {key!r} goes to {class_id!r}, expected 0..{MAX_CLASSES - 1}, or 255 for void"
                )
        if not self.classes:
            raise ValueError("id map: no class in it, only void")
        keys = np.array([_packed(key) for key in self.mapping])
        self._table = np.full(1 << 24 if self.has_colours else max(256, keys.max() + 1), _UNKNOWN, np.uint8)
        self._table[keys] = list(self.mapping.values())

    @classmethod
    def identity(cls, num_classes: int) -> IdMap:
        """Ids as they are, 0 to ``num_classes - 1`` and 255 for void, where the data does not say otherwise."""
        return cls({**{i: i for i in range(num_classes)}, IGNORE: IGNORE}, is_assumed=True)

    @property
    def classes(self) -> set[int]:
        """The class ids that something is mapped to."""
        return set(self.mapping.values()) - {IGNORE}

    def __call__(self, mask: np.ndarray, name: str) -> np.ndarray:
        """``(H, W)`` uint8 class ids of what `read_mask` gave.

        Args:
            name: of the file, for the error.

        Raises:
            ValueError: a value or colour that is not in the map.
        """
        if self.has_colours != (mask.ndim == 3):
            found, expected = ("colours", "ids") if mask.ndim == 3 else ("ids", "colours")
            raise ValueError(f"{name}: a mask of {found} where {expected} were expected{_ADVICE}")
        values = pack(mask)
        if values.min(initial=0) >= 0 and values.max(initial=0) < len(self._table):
            ids = self._table.take(values)
            unknown = ids == _UNKNOWN
        else:
            unknown = (values < 0) | (values >= len(self._table))
        if unknown.any():
            value = int(values[unknown][0])
            what = f"colour {hex_colour(value)}" if self.has_colours else f"id {value}"
            raise ValueError(f"{name}: {what} is not in the id map ({self}){_ADVICE}")
        return ids

    def __reduce__(self):
        return IdMap, (self.mapping, self.is_assumed)  # the table of colours is 16 MB

    def __contains__(self, packed: int) -> bool:
        return 0 <= packed < len(self._table) and self._table[packed] != _UNKNOWN

    def __getitem__(self, packed: int) -> int:
        return int(self._table[packed])

    def __str__(self) -> str:
        if self.has_colours:
            return f"{len(self.mapping)} colours"
        return f"{len(self.mapping)} values from {min(self.mapping)} to {max(self.mapping)}"


_ADVICE = "; `srzoo data check` proposes an id map"


def pack(mask: np.ndarray) -> np.ndarray:
    """``(H, W)`` integers: a mask's values, or ``R << 16 | G << 8 | B`` of its colours."""
    if mask.ndim == 2:
        return mask
    red, green, blue = (mask[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


def hex_colour(packed: int) -> str:
    """``#rrggbb`` of a packed colour."""
    return f"#{packed:06x}"


def parse_id_map(values: Mapping) -> IdMap:
    """An `IdMap` of YAML: integers, or colours as ``'#rrggbb'``, to class ids.

    Raises:
        ValueError: it is not such a mapping.
    """
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"id map: expected e.g. {{0: 255, 1: 0}} or {{'#ff0000': 0}}, got {values!r}")
    return IdMap({_parse_key(key): class_id for key, class_id in values.items()})


def _parse_key(key) -> Key:
    if not isinstance(key, str):
        return key
    try:
        return tuple(bytes.fromhex(key.removeprefix("#")))
    except ValueError:
        raise ValueError(f"id map: {key!r} is no colour, expected e.g. '#ff0000'") from None


def _is_key(key: Key) -> bool:
    if isinstance(key, tuple):
        return len(key) == 3 and all(0 <= channel <= 255 for channel in key)
    return type(key) is int and 0 <= key <= 65535


def _packed(key: Key) -> int:
    return key[0] << 16 | key[1] << 8 | key[2] if isinstance(key, tuple) else key
