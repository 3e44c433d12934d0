"""Where on Earth the pixels of a TIFF file lie: GeoTIFF's tags, which are copied to results unchanged."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import ASCII, DOUBLE, SHORT

SUFFIXES = (".tif", ".tiff")
_PLACES = (33550, 33922, 34264)  # of which one at least says where pixels lie
# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams and GeoAsciiParams
_KINDS = {33550: DOUBLE, 33922: DOUBLE, 34264: DOUBLE, 34735: SHORT, 34736: DOUBLE, 34737: ASCII}
_BITS, _ORIENTATION, _SAMPLES, _SOFTWARE = 258, 274, 277, 305


@dataclass(frozen=True)
class Georeference:
    """The tags of a file, each with its value."""

    tags: tuple[tuple[int, Any], ...]


class Placed(NamedTuple):
    """A picture that lies where the file lies that it was made of."""

    picture: Image.Image
    georeference: Georeference

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.picture.size

    def save(self, path: Path, software: str) -> None:
        """Write it as a GeoTIFF, compressed without losses; ``software`` is what the file says of its writer."""
        directory = ImageFileDirectory_v2()
        for tag, value in self.georeference.tags:
            directory.tagtype[tag] = _KINDS[tag]
            directory[tag] = value
        directory[_SOFTWARE] = software
        self.picture.save(path, "TIFF", tiffinfo=directory, compression="tiff_adobe_deflate")


def georeference_of(source: Any) -> Georeference | None:
    """The georeference of a TIFF file; None for one without, for one that is to be turned, and for anything else."""
    tags = tiff_tags(source)
    if tags is None or tags.get(_ORIENTATION, 1) != 1 or not any(tag in tags for tag in _PLACES):
        return None
    return Georeference(tuple((tag, tags[tag]) for tag in _KINDS if tag in tags))


def has_many_bands(source: Any) -> bool:
    """Whether a file is a TIFF that Pillow cannot read in full: of more than 4 bands, or of several beyond 8 bits."""
    tags = tiff_tags(source)
    if tags is None:
        return False
    bands, bits = tags.get(_SAMPLES, 1), tags.get(_BITS, (1,))
    return bands > 1 and (bands > 4 or max(bits) > 8)


def tiff_tags(source: Any) -> dict[int, Any] | None:
    """The tags of the first image in a file, whose pixels are not read; None if it is not the path of a TIFF file."""
    if not isinstance(source, (str, os.PathLike)) or not str(source).lower().endswith(SUFFIXES):
        return None
    try:
        with Path(source).open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = file.read(8)
            if header[2:3] == b"\x2b" or header[3:4] == b"\x2b":  # BigTIFF
                header += file.read(8)
            tags = ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
            return dict(tags)
    except Exception:  # of whatever kind: the reader of the pixels says what is wrong
        return None
