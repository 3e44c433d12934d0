"""A plain folder: ``images/`` and ``masks/`` with files of equal name, and ``classes.txt`` with a name a line."""

from __future__ import annotations

from pathlib import Path

from .dataset import SPLIT_NAMES, FilePairs, NoSplit, announce_held_out, files_by_stem, is_in_split, pair, read_names
from .labels import LabelSet
from .own_labels import own_labels

LAYOUT = (
    "images/ and masks/, split by train.txt and val.txt, by folders images/<split>/ and masks/<split>/ or "
    "<split>/images/ and <split>/masks/, or else by every fifth file"
)


def matches(root: Path) -> bool:
    return any(base.joinpath("masks").is_dir() and base.joinpath("images").is_dir() for base in (root, root / "train"))


def read(root: Path, split: str) -> FilePairs:
    pairs, unpaired = pair(*_files(root, split))
    return FilePairs("folder", split, _labels(root), None, pairs, unpaired=unpaired)


def _files(root: Path, split: str) -> tuple[dict[str, Path], dict[str, Path], list[str] | None]:
    """Images and masks by name, and the names of the split where there are others beside it."""
    found = _split_folders(root, split)
    if found:
        return *map(files_by_stem, found), None
    lists = {name: root / f"{name}.txt" for name in SPLIT_NAMES}
    is_listed = lists[split].is_file()
    has_others = any(lists[name].is_file() or _split_folders(root, name) for name in SPLIT_NAMES)
    if not is_listed and (has_others or split == "test"):
        raise NoSplit(f"{root} has no split {split!r}: no {split}.txt, images/{split}/ or {split}/images/")
    images, masks = files_by_stem(root / "images"), files_by_stem(root / "masks")
    if is_listed:
        return images, masks, read_names(lists[split], {*images, *masks})
    if split == "val":
        announce_held_out(root)
    names = sorted({*images, *masks})
    return images, masks, [name for i, name in enumerate(names) if is_in_split(i, split)]


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
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    return own_labels(names, str(path))
