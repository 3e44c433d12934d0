"""Mask files, and the table that maps what they store to class ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..images import ImageError, opened
from ..labels import IGNORE
from ..labels.own import MAX_CLASSES
from ..messages import importing, one_line

ARRAYS = (".mat", ".npy")  # suffixes of files that are no images
LOSSY = ("JPEG", "MPO")  # encodings that change ids
_UNKNOWN = 254
_MANY = 8  # values in a row of one class that are written as a range

Key = int | tuple[int, int, int]  # a value, or a colour (R, G, B)

_ADVICE = "; `srzoo data check` proposes an id map"


def read_mask(path: str | Path, as_colours: bool = False) -> np.ndarray:
    """The values in a mask file: ``(H, W)`` integers, or ``(H, W, 3)`` uint8 colours.

    A palette image returns its indices. An RGB file with equal channels is gray, and returns one of them. A file of one
    colour whose opacity varies returns the opacity: the mask was drawn there.

    Args:
        as_colours: always return colours, for a palette image those of its palette.

    Raises:
        ImageError: the file cannot be read, or contains values that are not whole numbers.
        ImportError: SciPy is not installed, which reads ``.mat`` files.
    """
    if Path(path).suffix.lower() in ARRAYS:
        return read_array(Path(path))
    with opened(path) as image:
        return mask_array(image, str(path), as_colours)


def read_array(path: Path) -> np.ndarray:
    """``(H, W)`` integers in a file of NumPy or MATLAB: the largest array of two dimensions, in whatever structure.

    Raises:
        ImageError: there is none, or the file cannot be read.
        ImportError: SciPy is not installed.
    """
    if path.suffix.lower() == ".npy":
        try:
            found = [np.load(path, allow_pickle=False)]
        except (OSError, ValueError, EOFError) as error:
            raise ImageError(f"{path}: cannot be read ({one_line(error)})") from error
    else:
        with importing("masks in .mat files need", "'srzoo[data]'"):
            from scipy.io import loadmat
        try:
            content = loadmat(path)
        except Exception as error:  # scipy raises many kinds; NotImplementedError for HDF5
            raise ImageError(f"{path}: cannot be read by scipy ({one_line(error)}); save it as PNG") from error
        found = [*_arrays([value for name, value in content.items() if not name.startswith("__")])]
    found = [each.squeeze() for each in found if each.dtype.kind in "iubf"]
    found = [each for each in found if each.ndim == 2 and min(each.shape) > 1]
    if not found:
        raise ImageError(f"{path}: no array of two dimensions; save the ids of classes as 8-bit PNG")
    mask = max(found, key=lambda each: each.size)
    if mask.dtype.kind == "f":
        return _whole(mask, str(path))
    return mask.astype(np.uint8) if mask.dtype == bool else mask


def _whole(mask: np.ndarray, name: str) -> np.ndarray:
    """The int32 values of a mask of floating-point ones.

    Raises:
        ImageError: some are not whole.
    """
    if not (np.isfinite(mask).all() and (mask == np.rint(mask)).all() and abs(mask).max(initial=0) < 1 << 31):
        raise ImageError(f"{name}: a mask of floating-point values that are not whole; save its ids as PNG")
    return mask.astype(np.int32)


def _arrays(values: Iterable, depth: int = 6) -> Iterator[np.ndarray]:
    """The arrays of numbers in cells and structures of MATLAB."""
    for value in values:
        if not isinstance(value, (np.ndarray, np.void)):
            continue
        if value.dtype.names and depth:
            rows = value.reshape(-1) if isinstance(value, np.ndarray) else [value]
            yield from _arrays([row[name] for row in rows for name in value.dtype.names], depth - 1)
        elif value.dtype == object and depth:
            yield from _arrays(value.reshape(-1), depth - 1)
        elif isinstance(value, np.ndarray):
            yield value


def mask_array(image: Image.Image, name: str, as_colours: bool = False) -> np.ndarray:
    """`read_mask` of a loaded Pillow image; ``name`` is for the error."""
    if as_colours:
        return np.array(image.convert("RGB"))
    if image.mode in ("LA", "La", "RGBA", "RGBa") and (opacity := _drawn_opacity(image)) is not None:
        return opacity
    if image.mode == "1":
        return np.array(image, dtype=np.uint8)
    if image.mode in ("L", "P") or image.mode.startswith("I"):
        return np.array(image)
    if image.mode in ("LA", "PA", "La"):
        return np.array(image.getchannel(0))
    if image.mode == "F":
        return _whole(np.array(image), name)
    colours = np.array(image.convert("RGB"))
    is_gray = (colours == colours[..., :1]).all()
    return np.ascontiguousarray(colours[..., 0]) if is_gray else colours


def _drawn_opacity(image: Image.Image) -> np.ndarray | None:
    """``(H, W)`` uint8 opacity of an image of one colour, or None if it has several, or the opacity is the same."""
    *colours, (low, high) = image.getextrema()
    is_plain = all(first == last for first, last in colours)
    return np.array(image.getchannel(len(colours))) if is_plain and low != high else None


def read_object_ids(path: Path) -> np.ndarray:
    """``(H, W)`` integers of a file that stores the id of each pixel's object, 0 or more.

    Raises:
        ImageError: it cannot be read, has colours or negative numbers, or is compressed with losses.
    """
    if path.suffix.lower() in ARRAYS:
        ids = read_array(path)
        if ids.min(initial=0) < 0:
            raise ImageError(f"{path}: the id {ids.min()}, expected 0 or more")
        return ids
    with opened(path) as image:
        if image.format in LOSSY:
            raise ImageError(f"{path}: ids as {image.format}, which changes them; they must be PNG")
        ids = mask_array(image, str(path))
    if ids.ndim == 3:
        raise ImageError(f"{path}: a picture in colours, expected one number for each pixel, the id of its object")
    if ids.min(initial=0) < 0:
        raise ImageError(f"{path}: the id {ids.min()}, expected 0 or more")
    return ids


@dataclass(frozen=True)
class Storage:
    """How a mask is stored.

    Attributes:
        encoding: "PNG", "JPEG", ..., or None if it is not a file.
        has_channels: whether it is stored as RGB, even if all channels are equal.
        palette: the packed colour of each index of a palette image.
    """

    encoding: str | None = None
    has_channels: bool = False
    palette: Mapping[int, int] = field(default_factory=dict)


def storage_of(image: Image.Image) -> Storage:
    """`Storage` of a Pillow image, which need not be loaded: the header is enough."""
    palette = {}
    if image.mode == "P":
        colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 1, 3)
        palette = dict(enumerate(pack(colours)[:, 0].tolist()))
    return Storage(image.format, len(image.getbands()) > 2, palette)


class IdMap:
    """A map from the values or colours in masks to class ids.

    Args:
        mapping: a class id, or 255 for void, for each value from 0 to 65535 or for each ``(R, G, B)``.
        is_assumed: True for the default map, which neither the format nor the user chose.
        snaps: whether values and colours that are not in the map are read as the nearest that is.

    Raises:
        ValueError: a key or a class id is out of range, values and colours are mixed, or all is void.
    """

    def __init__(self, mapping: Mapping[Key, int], is_assumed: bool = False, snaps: bool = False):
        self.mapping, self.is_assumed, self.snaps = dict(mapping), is_assumed, snaps
        self.has_colours = any(isinstance(key, tuple) for key in self.mapping)
        for key, class_id in self.mapping.items():
            if isinstance(key, tuple) != self.has_colours or not _is_key(key):
                raise ValueError(f"id map: {key!r} is neither a value from 0 to 65535 nor, like all others, a colour")
            if type(class_id) is not int or not (0 <= class_id < MAX_CLASSES or class_id == IGNORE):
                raise ValueError(
                    f"id map: {key!r} maps to {class_id!r}, expected 0..{MAX_CLASSES - 1}, or 255 for void"
                )
        if not self.classes:
            raise ValueError(f"id map: it has no class, only void; expected at least one of 0..{MAX_CLASSES - 1}")
        keys = np.array([_packed(key) for key in self.mapping])
        self._table = np.full(1 << 24 if self.has_colours else max(256, keys.max() + 1), _UNKNOWN, np.uint8)
        self._table[keys] = list(self.mapping.values())

    @classmethod
    def identity(cls, num_classes: int) -> IdMap:
        """The default map: values are class ids, 0 to ``num_classes - 1``, and 255 is void."""
        return cls({**{i: i for i in range(num_classes)}, IGNORE: IGNORE}, is_assumed=True)

    @property
    def classes(self) -> set[int]:
        """The class ids that the map leads to, without void."""
        return set(self.mapping.values()) - {IGNORE}

    def __call__(self, mask: np.ndarray, name: str) -> np.ndarray:
        """The class ids of a mask.

        Args:
            mask: ``(H, W)`` integers or ``(H, W, 3)`` uint8 colours, as `read_mask` returns them.
            name: of the file, for the error.

        Returns:
            ``(H, W)`` uint8 class ids, 255 for void.

        Raises:
            ValueError: a value or colour is not in the map.
        """
        if self.has_colours != (mask.ndim == 3):
            found, expected = ("colours", "ids") if mask.ndim == 3 else ("ids", "colours")
            raise ValueError(f"{name}: a mask of {found} where {expected} were expected{_ADVICE}")
        values = pack(mask)
        if self.snaps:
            self._snap(values)
        if values.min(initial=0) >= 0 and values.max(initial=0) < len(self._table):
            ids = self._table.take(values)
            unknown = ids == _UNKNOWN
        else:
            unknown = (values < 0) | (values >= len(self._table))
        if unknown.any():
            value = int(values[unknown][0])
            kind = "colour" if self.has_colours else "id"
            raise ValueError(f"{name}: {kind} {self.key_name(value)} is not in the id map ({self}){_ADVICE}")
        return ids

    def _snap(self, values: np.ndarray) -> None:
        """Add the values in a mask that are not in the table to it, each with the class of the nearest key."""
        found = np.unique(values[(values >= 0) & (values < len(self._table))])
        lacking = found[self._table[found] == _UNKNOWN].astype(np.int64)
        keys = np.array([key if self.has_colours else [key] for key in self.mapping])
        split = (
            np.stack([lacking >> 16, lacking >> 8 & 255, lacking & 255], 1) if self.has_colours else lacking[:, None]
        )
        classes = np.array([*self.mapping.values()], np.uint8)
        for part, own in zip(
            np.array_split(lacking, len(lacking) // 4096 + 1), np.array_split(split, len(lacking) // 4096 + 1)
        ):
            self._table[part] = classes[((own[:, None] - keys) ** 2).sum(2).argmin(1)]

    def __reduce__(self):
        return IdMap, (self.mapping, self.is_assumed, self.snaps)  # the table of colours is 16 MB

    def key_name(self, packed: int) -> str:
        """A value, or a packed colour as ``#rrggbb`` if the map is one of colours."""
        return hex_colour(packed) if self.has_colours else str(packed)

    def to_yaml(self) -> str:
        """The map on one line, as ``--data.id_map`` takes it: ``{0: 255, 7: 0}``, ``{0-99: 0}``, ``{'#ff0000': 1}``."""
        if self.has_colours:
            parts = [f"'{hex_colour(_packed(key))}': {self.mapping[key]}" for key in sorted(self.mapping)]
            return f"{{{', '.join(parts)}}}"
        parts = []
        for class_id, first, last in _ranges(self.mapping):
            if last - first >= _MANY:
                parts.append(f"{first}-{last}: {class_id}")
            else:
                parts += [f"{value}: {class_id}" for value in range(first, last + 1)]
        return f"{{{', '.join(parts)}}}"

    def __contains__(self, packed: int) -> bool:
        if self.snaps:
            self._snap(np.array([packed]))
        return 0 <= packed < len(self._table) and self._table[packed] != _UNKNOWN

    def __getitem__(self, packed: int) -> int:
        return int(self._table[packed])

    def __str__(self) -> str:
        if self.has_colours:
            return f"{len(self.mapping)} colours"
        return f"{len(self.mapping)} values from {min(self.mapping)} to {max(self.mapping)}"


def _ranges(mapping: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """The class id, first and last of each run of consecutive values with one class id."""
    found: list[tuple[int, int, int]] = []
    for value in sorted(mapping):
        if found and found[-1][0] == mapping[value] and found[-1][2] == value - 1:
            found[-1] = (*found[-1][:2], value)
        else:
            found.append((mapping[value], value, value))
    return found


def pack(mask: np.ndarray) -> np.ndarray:
    """``(H, W)`` integers of a mask ``(H, W)`` or ``(H, W, 3)``: its values, or ``R << 16 | G << 8 | B``."""
    if mask.ndim == 2:
        return mask
    red, green, blue = (mask[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


def hex_colour(packed: int) -> str:
    """``#rrggbb`` of a packed colour."""
    return f"#{packed:06x}"


def parse_id_map(values: Mapping) -> IdMap:
    """An `IdMap` from parsed YAML.

    Args:
        values: a class id for each value, for each range of values as ``'0-127'``, or for each colour as ``'#rrggbb'``.

    Raises:
        ValueError: it is not such a mapping, or as for `IdMap`.
    """
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"id map: expected e.g. {{0: 255, 1: 0}} or {{'#ff0000': 0}}, got {values!r}")
    return IdMap({key: class_id for name, class_id in values.items() for key in _parse_keys(name)})


def _parse_keys(name) -> Iterable[Key]:
    if not isinstance(name, str):
        return [name]
    if found := re.fullmatch(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*", name):
        return range(int(found[1]), int(found[2]) + 1)
    try:
        return [tuple(bytes.fromhex(name.removeprefix("#")))]
    except ValueError:
        raise ValueError(f"id map: {name!r} is not a colour, expected e.g. '#ff0000', nor a range as '0-127'") from None


def _is_key(key: Key) -> bool:
    if isinstance(key, tuple):
        return len(key) == 3 and all(0 <= channel <= 255 for channel in key)
    return type(key) is int and 0 <= key <= 65535


def _packed(key: Key) -> int:
    return key[0] << 16 | key[1] << 8 | key[2] if isinstance(key, tuple) else key
