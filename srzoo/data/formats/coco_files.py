"""Where COCO's files lie: the JSON file of a split and the folder of its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...images import SUFFIXES
from ..files import SPLIT_NAMES

_FOLDERS = ("{}2017", "images/{}2017", "{}", "images/{}", "images")
_BESIDE = "_annotations.coco.json"  # Roboflow's, beside the images or the folder of images
_UNSPLIT = "annotations/instances_default.json"  # CVAT's


class Found(NamedTuple):
    """The JSON file of a split, and the folder of its images.

    Attributes:
        is_whole: whether the file is of a dataset without splits.
    """

    file: Path
    folder: Path
    is_whole: bool = False


def find_annotations(root: Path, split: str, patterns: Sequence[str]) -> Found | None:
    """The first file of these names, in which ``{}`` stands for the split, that exists."""
    for name in SPLIT_NAMES[split]:
        for file in (root / pattern.format(name) for pattern in patterns):
            if file.is_file():
                return Found(file, _image_folder(root, name))
    return None


def find_objects(root: Path, split: str, patterns: Sequence[str]) -> Found | None:
    """`find_annotations`, or the files of tools with names of their own."""
    for name in SPLIT_NAMES[split]:
        beside = root / name / _BESIDE
        if beside.is_file():
            within = beside.with_name("images")
            return Found(beside, within if within.is_dir() and not _holds_images(beside.parent) else beside.parent)
    found = find_annotations(root, split, patterns)
    if found or split == "test" or not (root / _UNSPLIT).is_file():
        return found
    if any(find_annotations(root, other, patterns) for other in SPLIT_NAMES):
        return None
    return Found(root / _UNSPLIT, _image_folder(root, "default"), is_whole=True)


def _image_folder(root: Path, name: str) -> Path:
    folders = [folder for pattern in _FOLDERS if (folder := root / pattern.format(name)).is_dir()]
    return (folders or [root])[0]


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
