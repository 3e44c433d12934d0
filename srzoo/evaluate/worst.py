"""The images that a model does worst on, as pictures."""

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
    """Keeps pictures of the ``count`` images of lowest figure.

    Raises:
        ValueError: ``count`` is below 0.
    """

    def __init__(self, count: int):
        if count < 0:
            raise ValueError(f"the number of worst images must be 0 or more, got {count}")
        self.count = count
        self.pictures: list[_Picture] = []

    def update(self, figure: float, index: int, draw: Callable[[], Image.Image]) -> None:
        """Take an image into account.

        Args:
            figure: of this image, 0..1.
            index: in the dataset.
            draw: makes its picture; called only if the image is among the worst so far.
        """
        place = (figure, index)
        if self.count and (len(self.pictures) < self.count or place < self.pictures[-1][:2]):
            buffer = io.BytesIO()
            draw().save(buffer, "PNG")
            self._keep([_Picture(figure, index, buffer.getvalue())])

    def merge(self, other: WorstImages) -> None:
        """Take the images of another process into account."""
        self._keep(other.pictures)

    def _keep(self, more: list[_Picture]) -> None:
        self.pictures = sorted([*self.pictures, *more], key=lambda picture: picture[:2])[: self.count]

    def write(self, folder: Path, names: Sequence[str], headline: str) -> list[Path]:
        """Write ``<place>_<headline><percent>_<name>.png``, the worst first; returns the paths.

        Args:
            folder: exists.
            names: of the dataset's images.
            headline: what the figure is, e.g. "mIoU".
        """
        label = "".join(filter(str.isalnum, headline)).lower()
        paths = []
        for place, (figure, index, png) in enumerate(self.pictures, 1):
            paths.append(folder / f"{place:02d}_{label}{100 * figure:04.1f}_{names[index]}.png")
            with replacing(paths[-1]) as temporary:
                temporary.write_bytes(png)
        return paths
