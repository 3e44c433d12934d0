"""What the readers of tools that draw shapes share: the way to a split, and to the images that files name."""

from __future__ import annotations

import json
import os
import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from ...images import SUFFIXES
from ..files import NoSplit
from ..roles import split_of
from ..shapes import Annotated, ShapeMasks, ShapeObjects, class_names, masks_of, objects_of
from .format import Format

_LARGEST = 1 << 30  # bytes of an annotation file
_PEEKED = 1 << 16  # bytes of its beginning and of its end that tell what it is
_TRIED = 4  # files that are looked at to tell a format
_DEPTH = 4  # folders below the root in which they are looked for


class ShapesFormat(Format):
    """A file layout of a tool that draws shapes. A subclass has `matches` and `parse`."""

    tasks = ("semantic", "instance")

    @abstractmethod
    def parse(self, root: Path) -> Annotated:
        """All annotations in a folder.

        Raises:
            ValueError: a file that all others depend on cannot be read.
        """

    def read(self, root: Path, split: str, task: str = "semantic") -> ShapeMasks | ShapeObjects:
        found = self.parse(root)
        if not found.annotations and not found.problems:
            raise NoSplit(f"{root} has no images with annotations: expected {self.layout}")
        splits = {each.split for each in found.annotations} - {None}
        is_whole = "val" not in splits and split != "test"
        if split not in splits and not is_whole:
            raise NoSplit(f"{root} has no split {split!r}")
        wanted = split if not is_whole else "train" if "train" in splits else None
        names = class_names(found)
        chosen = sorted((each for each in found.annotations if each.split == wanted), key=lambda each: each.image)
        make = objects_of if task == "instance" else masks_of
        data = make(self.name, split, found, names, chosen)
        data.is_whole = is_whole
        return data


def files_named(root: Path, suffix: str) -> Iterator[Path]:
    """The files with a suffix in a folder and in those below it, not too deep; nearest first."""
    level = [root]
    for _ in range(_DEPTH):
        below = []
        for folder in level:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            for entry in entries:
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                # entry.is_dir() needs no look at the file, but raises an error for a link to itself.
                if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    below.append(Path(entry.path))
                elif entry.name.lower().endswith(suffix):
                    yield Path(entry.path)
        level = below


def contain(root: Path, suffix: str, *words: str, tried: int = _TRIED) -> bool:
    """Whether one of the first files with a suffix has all of these words near its beginning or its end."""
    for i, path in enumerate(files_named(root, suffix)):
        if i == tried:
            return False
        text = peek(path)
        if all(word in text for word in words):
            return True
    return False


def peek(path: Path) -> str:
    """The beginning and the end of a text file."""
    try:
        with path.open("rb") as file:
            head = file.read(_PEEKED)
            file.seek(max(len(head), os.fstat(file.fileno()).st_size - _PEEKED))
            return (head + file.read(_PEEKED)).decode("utf-8", "replace")
    except OSError:
        return ""


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: it is not JSON, or too large.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"{path.stat().st_size:,} bytes, at most {_LARGEST:,} are read")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error


def split_in(path: Path, root: Path) -> str | None:
    """The split that a folder between the root and a file is named by, the nearest to the file."""
    return next((split for part in reversed(path.relative_to(root).parts[:-1]) if (split := split_of(part))), None)


class ImageIndex:
    """The images of a folder, or other files, found by the names that annotation files have for them."""

    def __init__(self, root: Path, suffixes: Container[str] = SUFFIXES):
        self.suffixes = suffixes
        self.paths = [
            path
            for path in sorted(root.rglob("*"))
            if path.suffix.lower() in suffixes
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        ]
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._by_name[path.name.lower()].append(path)
            self._by_stem[path.stem.lower()].append(path)

    def find(self, name: str, near: Path) -> Path | None:
        """The image of this name or path, with either slash: first as a path from ``near``, then anywhere.

        Of several of one name that which shares most folders with the given path is meant, then the nearest.
        """
        parts = [part for part in re.split(r"[\\/]", name) if part not in ("", ".", "..")]
        if not parts:
            return None
        direct = near.joinpath(*parts)
        if direct.suffix.lower() in self.suffixes and os.path.isfile(direct):  # not is_file, which raises on long names
            return direct
        last = parts[-1].lower()
        found = self._by_name.get(last) or self._by_name.get(re.sub(r"^[0-9a-f]{8}-", "", last))  # Label Studio's
        found = found or self._by_stem.get(last.rpartition(".")[0] or last, [])

        def likeness(path: Path) -> tuple[int, int]:
            tail = 0
            for a, b in zip(reversed(path.parts), reversed(parts)):
                if a.lower() != b.lower():
                    break
                tail += 1
            return -tail, len(set(path.parts) ^ set(near.parts))

        return min(found, key=likeness) if found else None
