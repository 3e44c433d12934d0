"""What a reader of one file layout provides."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..samples import ImageData


class Format(Protocol):
    """A file layout.

    Attributes:
        name: as ``--data.format`` takes it.
        layout: the files it expects, in words, for messages.
        tasks: names of the tasks that it can read annotations for.
    """

    name: str
    layout: str
    tasks: tuple[str, ...]

    def matches(self, root: Path) -> bool:
        """Whether a folder has this layout, by names and the beginnings of a few files; it never raises on a folder."""

    def read(self, root: Path, split: str, task: str = "semantic") -> ImageData:
        """A split of the dataset in ``root``: for "semantic" a `SemanticData`.

        Args:
            root: folder of the dataset.
            split: "train", "val" or "test".
            task: one of `tasks`.

        Raises:
            NoSplit: the dataset has no such split.
            ValueError: a list, a table of classes or an annotation file cannot be read.
            ImportError: a package that the format needs is not installed.
        """
