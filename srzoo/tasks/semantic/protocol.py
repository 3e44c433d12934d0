"""How images are shown to a model when it is measured. Imports no torch, as the command line reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...zoo.transform import Transform


@dataclass(frozen=True)
class Protocol:
    """One pass over the whole image, or several of which the softmax probabilities are averaged.

    The default is what `Segmenter` does. As in MMSegmentation, probabilities are averaged over scales and flips at
    the annotation's size, logits where sliding windows overlap.

    Attributes:
        scales: of the input, relative to the size of the model's transform.
        flip: show every scale mirrored, too.
        window: side in pixels of a sliding window, two thirds of it apart; None for the whole image at once.
        tile: greatest side in pixels of tiles that share the whole image's context (`srzoo.tiling`); at
            scale 1 an image is then never shown smaller than it is.
        halo: pixels of real image around a tile.

    Raises:
        ValueError: no scale, one that cannot be, or both a window and tiles.
    """

    MAX_SCALE: ClassVar[float] = 16  # 256 times the model's usual pixels

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: int | None = None
    tile: int | None = None
    halo: int = 128

    def __post_init__(self):
        if not self.scales or not all(0 < scale <= self.MAX_SCALE for scale in self.scales):
            raise ValueError(f"scales must be one or more positive numbers up to {self.MAX_SCALE}, got {self.scales}")
        if self.window is not None and self.tile is not None:
            raise ValueError(f"window={self.window} and tile={self.tile} exclude each other; leave one out")

    def arguments(self) -> list[str]:
        """Those of `srzoo eval` that differ from the default."""
        given = []
        if self.scales != (1.0,):
            given += ["--scales", *map(str, self.scales)]
        if self.flip:
            given += ["--flip"]
        if self.window is not None:
            given += ["--window", str(self.window)]
        if self.tile is not None:
            given += ["--tile", str(self.tile), "--halo", str(self.halo)]
        return given

    def sentence(self, transform: Transform) -> str:
        """The protocol in words, with a model's transform."""
        is_plain = self.scales == (1.0,)
        or_larger = "" if self.tile is None else " or the image's own where that is larger"
        parts = [
            "single scale" if is_plain else f"scales {', '.join(map(str, self.scales))}",
            "flip" if self.flip else "no flip",
            f"short side {transform.short_side}{or_larger} into the network, sides rounded down to multiples of "
            f"{transform.multiple}" + ("" if is_plain else ", at scale 1"),
        ]
        if self.window is not None:
            parts.append(f"sliding window of {self.window} pixels, two thirds apart, logits averaged in overlaps")
        if self.tile is not None:
            parts.append(f"tiles of {self.tile} pixels with {self.halo} around them and the whole image's context")
        if self.flip or len(self.scales) > 1:
            parts.append("softmax probabilities averaged at the annotation's size")
        return ", ".join([*parts, "labels compared at the annotation's size, one confusion matrix over the split"])
