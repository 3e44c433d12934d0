"""Where COCO's files lie: the JSON file of a split, and the images that it names."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from ...files import composed
from ...images import SUFFIXES
from ...web import parts_of
from ..files import SPLIT_NAMES, forms

_FOLDERS = ("{}2017", "images/{}2017", "{}", "images/{}", "images")
_BESIDE = "_annotations.coco.json"  # Roboflow's, beside the images or the folder of images
_UNSPLIT = ("annotations/instances_default.json", "result.json")  # CVAT's, and Label Studio's
_USUAL = "annotations.json"  # of several
_UNSPLIT_FOLDERS = ("annotations", ".")  # of one JSON file of any name
_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_OTHER_KEY = b'"segments_info"'  # of the panoptic format


class Found(NamedTuple):
    """The JSON file of a split, and where its images may be.

    Attributes:
        folders: the usual place first.
        is_whole: whether the file is of a dataset without splits.
    """

    file: Path
    folders: tuple[Path, ...]
    is_whole: bool = False


def find_annotations(root: Path, split: str, patterns: Sequence[str]) -> Found | None:
    """The first file of these names, in which ``{}`` stands for the split, that exists; letters may be capitals."""
    for name in SPLIT_NAMES[split]:
        for spelled in (name, name.capitalize(), name.upper()):
            for file in (root / pattern.format(spelled) for pattern in patterns):
                if file.is_file():
                    return Found(file, _image_folders(root, spelled))
    return None


def find_objects(root: Path, split: str, patterns: Sequence[str]) -> Found | None:
    """`find_annotations`, or the files of tools with names of their own."""
    for name in SPLIT_NAMES[split]:
        beside = root / name / _BESIDE
        if beside.is_file():
            within = beside.with_name("images")
            folder = within if within.is_dir() and not _holds_images(beside.parent) else beside.parent
            return Found(beside, (folder, beside.parent))
    found = find_annotations(root, split, patterns)
    if found or split == "test":
        return found
    if any(find_annotations(root, other, patterns) or (root / other / _BESIDE).is_file() for other in SPLIT_NAMES):
        return None
    file = _unsplit(root)
    return file and Found(file, _image_folders(root, "default"), is_whole=True)


def _unsplit(root: Path) -> Path | None:
    """The file of a dataset without splits: of a known name, or else the only one with COCO's keys."""
    known = [file for name in _UNSPLIT if (file := root / name).is_file()]
    if known:
        return known[0]
    if (root / "masks").is_dir():  # a plain folder, whatever lies beside it
        return None
    for folder in _UNSPLIT_FOLDERS:
        files = [file for file in _json_files(root / folder) if _has_keys(file)]
        if files:
            files = [file for file in files if file.name == _USUAL] or files
            return files[0] if len(files) == 1 else None
    return None


def _json_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json" and path.is_file())
    except OSError:
        return []


def _has_keys(file: Path) -> bool:
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(key) >= 0 for key in _KEYS) and content.find(_OTHER_KEY) < 0
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def _image_folders(root: Path, name: str) -> tuple[Path, ...]:
    folders = [folder for pattern in _FOLDERS if (folder := root / pattern.format(name)).is_dir()]
    return (*folders, root)


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


class ImageFinder:
    """Finds the images that a JSON file names, in the folders of the dataset and nowhere else.

    A name may have folders, of this machine or another, or be an address, as tools write them: where there is no such
    file below one of the folders, the last part of the name counts.

    Args:
        folders: the usual place first.
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = folders

    def __call__(self, name: str) -> Path | None:
        """The file, or None if there is none, or if several have the last part of the name."""
        for each in _spellings(name):
            for folder in self.folders:
                if os.path.isfile(path := folder / each):  # unlike pathlib's, false for names that no file can have
                    return path
        found = self._below.get(composed(_last_part(name)), [])
        return found[0] if len(found) == 1 else None

    def expected(self, name: str) -> str:
        """Where the file of a name should be."""
        return str(self.folders[0] / next(iter(_spellings(name))))

    @cached_property
    def _below(self) -> dict[str, list[Path]]:
        """The files at any depth below the usual place, by name."""
        found: dict[str, list[Path]] = {}
        for folder, _, names in os.walk(self.folders[0]):
            for name in names:
                found.setdefault(composed(name), []).append(Path(folder, name))
        return found


def _spellings(name: str) -> Iterable[str]:
    """Ways to read a name as a path that does not lead out of a folder."""
    slashed = name.replace("\\", "/")
    ways = [way for way in (name, slashed) if not (way.startswith("/") or ".." in PurePosixPath(way).parts)]
    return dict.fromkeys(form for way in (*ways, _last_part(name)) for form in forms(way))


def _last_part(name: str) -> str:
    path = unquote(parts_of(name).path) if "://" in name else name
    return path.replace("\\", "/").rpartition("/")[2]
