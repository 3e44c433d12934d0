"""A plain folder: ``images/`` and ``masks/`` with files of equal name, and ``classes.txt`` with a name per line.

The masks have ids of classes or, for instances, ids of objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...labels import IGNORE, LabelSet
from ...labels.own import own_labels
from ..files import SPLIT_NAMES, NoSplit, files_by_stem, hold_out, pair, read_lines, read_names
from ..masks import read_object_ids
from ..objects import Objects, areas_of, found_in
from ..samples import FilePairs, InstanceData, PairedFiles
from .format import Format

_MANY = 4096  # a mask with more ids than this does not hold object ids


@dataclass
class FolderObjects(PairedFiles, InstanceData):
    """A split of images with masks of object ids, all of one class: 0 is the background, and 255 in 8 bits is void."""

    def objects(self, index: int) -> Objects:
        path = self.pairs[index][1]
        ids = read_object_ids(path)
        values = [value for value in areas_of(ids) if value and not (value == IGNORE and ids.itemsize == 1)]
        if not values and (ids == IGNORE).any() and (ids == 0).any():
            raise ValueError(
                f"{path}: the mask holds 0 and 255 alone: drawn in black and white, it does not tell objects apart; "
                "expected 1, 2, ... for them"
            )
        if len(values) > _MANY:
            raise ValueError(
                f"{path}: {len(values)} different ids, at most {_MANY} are expected: a photograph, or a mask that was "
                "resized with interpolation"
            )
        return Objects.of(ids.shape, found_in(ids, dict.fromkeys(values, (0, False))))


class Folder(Format):
    name = "folder"
    layout = (
        "images/ and masks/, split by train.txt and val.txt, by folders images/<split>/ and masks/<split>/ or "
        "<split>/images/ and <split>/masks/, or else by every fifth file"
    )
    tasks = ("semantic", "instance")

    def matches(self, root: Path) -> bool:
        return any((base / "masks").is_dir() and (base / "images").is_dir() for base in (root, root / "train"))

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs | FolderObjects:
        pairs, unpaired = pair(*_files(root, split))
        if task == "instance":
            names = [image.stem for image, _ in pairs]
            return FolderObjects(self.name, split, _object_labels(root), (1,), names, pairs, unpaired=unpaired)
        return FilePairs(self.name, split, _labels(root), None, pairs, unpaired=unpaired)


def _files(root: Path, split: str) -> tuple[dict[str, Path], dict[str, Path], list[str] | None]:
    """Images and masks by name, and the names in the split, or None if all of them are."""
    found = _split_folders(root, split)
    if found:
        return *map(files_by_stem, found), None
    listed = _split_list(root, split)
    has_others = any(_split_list(root, name) or _split_folders(root, name) for name in SPLIT_NAMES)
    if not listed and (has_others or split == "test"):
        raise NoSplit(f"{root} has no split {split!r}: no {split}.txt, images/{split}/ or {split}/images/")
    images, masks = files_by_stem(root / "images"), files_by_stem(root / "masks")
    if listed:
        return images, masks, read_names(listed, {*images, *masks})
    names = sorted({*images, *masks})
    return images, masks, [names[i] for i in hold_out(len(names), split, root)]


def _split_list(root: Path, split: str) -> Path | None:
    """The file that lists a split."""
    return next((path for name in SPLIT_NAMES[split] if (path := root / f"{name}.txt").is_file()), None)


def _split_folders(root: Path, split: str) -> tuple[Path, Path] | None:
    """The folders of images and masks of a split that has its own."""
    candidates = [
        folders
        for name in SPLIT_NAMES[split]
        for folders in (
            (root / name / "images", root / name / "masks"),
            (root / "images" / name, root / "masks" / name),
        )
    ]
    return next((folders for folders in candidates if folders[0].is_dir()), None)


def _labels(root: Path) -> LabelSet | None:
    path = root / "classes.txt"
    if not path.is_file():
        return None
    return own_labels(read_lines(path), str(path))


def _object_labels(root: Path) -> LabelSet:
    path = root / "classes.txt"
    names = [name for name in read_lines(path) if name != "background"] if path.is_file() else ["object"]
    if len(names) != 1:
        raise ValueError(
            f"{path}: {len(names)} classes, expected 1: masks of object ids do not tell the class of an object; COCO's "
            "JSON does"
        )
    return own_labels(names, str(path), fewest=1)
