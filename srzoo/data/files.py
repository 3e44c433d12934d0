"""The files of a dataset: which of them belong together, and to which split."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path, PureWindowsPath

from ..files import composed
from ..images import SUFFIXES
from ..messages import and_more

# The names that the folder or file of a split may have.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class NoSplit(FileNotFoundError):
    """The dataset has no such split; the message says what was looked for."""


def forms(name: str) -> tuple[str, ...]:
    """A name as it is, and with accented letters as one character and as two."""
    return (name,) if name.isascii() else (name, composed(name), unicodedata.normalize("NFD", name))


def name_bytes(name: str) -> bytes:
    """The bytes of a file's name; those that are no UTF-8 are lone surrogates in Python's text."""
    return name.encode(errors="surrogateescape")


def files_by_stem(folder: Path, suffix: str = "") -> dict[str, Path]:
    """The image files of a folder by their name without extension and ``suffix``, sorted; others are left out.

    Raises:
        NoSplit: there is no such folder.
        ValueError: two files have one name, or the folder contains folders of images.
    """
    if not folder.is_dir():
        raise NoSplit(f"no folder {folder}")
    found: dict[str, Path] = {}
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for path in paths:
        if path.suffix.lower() in SUFFIXES and path.stem.endswith(suffix) and not path.is_dir():
            stem = composed(path.stem.removesuffix(suffix))
            if stem in found:
                raise ValueError(f"{found[stem]} and {path} have one name; remove one of them")
            found[stem] = path
    folders = [path.name for path in paths if path.is_dir() and _holds_images(path)]
    if folders:
        raise ValueError(
            f"{folder} contains folders of images, which are not read ({and_more(folders, 3)}): move their files into "
            "it, or the folders elsewhere"
        )
    return found


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in folder.iterdir())


def pair(
    images: dict[str, Path], masks: dict[str, Path], names: Iterable[str] | None = None
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pair images and masks of equal name.

    Args:
        images, masks: as `files_by_stem` returns them.
        names: the names in the split; by default all.

    Returns:
        The pairs of paths, and a line for each file without a partner and for each name that is listed twice.
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
    """The names in a split's list, one per line, without folder and extension.

    Args:
        path: each line has the name or path of a file, or several of which the first counts.
        known: the names of existing files, which tell a name with spaces in it from several names, and how accented
            letters are written.

    Raises:
        ValueError: the list is not UTF-8.
    """
    return [_listed_name(line, known) for line in read_lines(path)]


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped and without empty ones.

    Raises:
        ValueError: the file is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _listed_name(line: str, known: Container[str]) -> str:
    names = []
    for text in (line, line.split()[0]):
        path = PureWindowsPath(text)  # accepts either slash
        names.append(path.stem if path.suffix.lower() in SUFFIXES else path.name)
    return next((form for name in names for form in forms(name) if form in known), names[-1])


def natural(text: str) -> list:
    """A key that sorts numbers by their value: frame2 before frame10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]
