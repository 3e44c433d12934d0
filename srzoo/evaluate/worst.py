"""Pictures of the images with the lowest figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ..files import replacing


class _Picture(NamedTuple):
    figure: float
    index: int
    png: bytes


class WorstImages:
    """Keeps pictures of the images with the lowest figures.

    Args:
        count: number of images to keep.

    Raises:
        ValueError: ``count`` is negative.
    """

    def __init__(self, count: int):
        if count < 0:
            raise ValueError(f"the number of worst images must be 0 or more, got {count}")
        self.count = count
        self.pictures: list[_Picture] = []

    def update(self, figure: float, index: int, draw: Callable[[], Image.Image]) -> None:
        """Add an image, which is kept if it is among the ``count`` worst so far. The first of equal figures is worse.

        Args:
            figure: the figure of this image, in 0..1.
            index: its index in the dataset.
            draw: returns its picture, an RGB image; called only if the image is kept.
        """
        place = (figure, index)
        if self.count and (len(self.pictures) < self.count or place < self.pictures[-1][:2]):
            buffer = io.BytesIO()
            draw().save(buffer, "PNG")
            self._keep([_Picture(figure, index, buffer.getvalue())])

    def merge(self, other: WorstImages) -> None:
        """Add the images of another process."""
        self._keep(other.pictures)

    def _keep(self, more: list[_Picture]) -> None:
        self.pictures = sorted([*self.pictures, *more], key=lambda picture: picture[:2])[: self.count]

    def write(self, folder: Path, names: Sequence[str], headline: str) -> list[Path]:
        """Write the pictures to ``<place>_<headline><percent>_<name>.png``, the worst first.

        Args:
            folder: the output folder, which exists.
            names: a name for each image of the dataset, without an ending.
            headline: name of the figure, e.g. "mIoU".

        Returns:
            The paths of the pictures.

        Raises:
            OSError: a file cannot be written.
        """
        label = "".join(filter(str.isalnum, headline)).lower()
        paths = []
        for place, (figure, index, png) in enumerate(self.pictures, 1):
            paths.append(folder / f"{place:02d}_{label}{100 * figure:04.1f}_{names[index]}.png")
            with replacing(paths[-1]) as temporary:
                temporary.write_bytes(png)
        return paths
