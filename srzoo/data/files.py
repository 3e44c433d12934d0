"""The files of a dataset: which belong together, and which to which split."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path, PureWindowsPath

from ..images import SUFFIXES

# Other names of a split's folder or file.
SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


_HELD_OUT = 5


class NoSplit(FileNotFoundError):
    """The data set has no such split; the message says what was looked for."""


def files_by_stem(folder: Path, suffix: str = "") -> dict[str, Path]:
    """The image files of a folder by their name without ``suffix`` and extension, in order.

    Raises:
        NoSplit: there is no such folder.
        ValueError: two files of one name, or folders of images inside.
    """
    if not folder.is_dir():
        raise NoSplit(f"no folder {folder}")
    found: dict[str, Path] = {}
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for path in paths:
        if path.suffix.lower() in SUFFIXES and path.stem.endswith(suffix) and not path.is_dir():
            stem = path.stem.removesuffix(suffix)
            if stem in found:
                raise ValueError(f"{found[stem]} and {path} have one name: which is meant?")
            found[stem] = path
    folders = [path for path in paths if path.is_dir() and _holds_images(path)]
    if folders:
        inside = ", ".join(path.name for path in folders[:3]) + (", ..." if len(folders) > 3 else "")
        raise ValueError(
            f"{folder} has folders of images in it, which are not read ({inside}): put the files into it, or the "
            "folders elsewhere"
        )
    return found


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in folder.iterdir())


def pair(
    images: dict[str, Path], masks: dict[str, Path], names: Iterable[str] | None = None
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Join files of equal name.

    Args:
        images, masks: as `files_by_stem` gives them.
        names: those that belong to the split; default all.

    Returns:
        The pairs, and a line for each file that has no partner, and for each name that would count twice.
    """
    names = [*images, *(name for name in masks if name not in images)] if names is None else names
    counts = Counter(names)
    pairs, unpaired = [], [f"{name} is in the split's list twice" for name, count in counts.items() if count > 1]
    for name in counts:
        image, mask = images.get(name), masks.get(name)
        if image and mask:
            pairs.append((image, mask))
        elif image or mask:
            unpaired.append(f"{image} has no mask" if image else f"{mask} has no image")
        else:
            unpaired.append(f"{name} is in the split's list, but there is no such image")
    return pairs, unpaired


def read_names(path: Path, known: Container[str]) -> list[str]:
    """The names in a split's list, one a line, without folder and extension.

    Args:
        path: a line is a file's name or path, or several of them, of which the first one counts.
        known: the names of files there are, by which a name with spaces in it is told from several.
    """
    return [_listed_name(line, known) for line in read_lines(path)]


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without those that are empty.

    Raises:
        ValueError: it is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _listed_name(line: str, known: Container[str]) -> str:
    names = []
    for text in (line, line.split()[0]):
        path = PureWindowsPath(text)  # which takes either slash
        names.append(path.stem if path.suffix.lower() in SUFFIXES else path.name)
    return next((name for name in names if name in known), names[-1])


def hold_out(count: int, split: str, where: Path) -> list[int]:
    """Which of ``count`` samples belong to train or val where the data does not say: every fifth is for val.

    Raises:
        ValueError: there is one sample.
    """
    if count == 1:
        raise ValueError(f"{where} has one image, and names no train and val: they need one each, at least")
    if split == "val":  # neighbouring frames of a video on both sides of a split flatter a model
        warnings.warn(f"{where} names no train and val: every fifth image is held out for val", stacklevel=2)
    return [i for i in range(count) if split == ("train" if i % _HELD_OUT else "val")]
