"""How an image is shown to a semantic model. Imports no torch, as the command line reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...options import check, documented, option

if TYPE_CHECKING:
    from ...zoo.transform import Transform


@documented
@dataclass(frozen=True)
class View:
    """One pass over the whole image, or several of which the softmax probabilities are averaged.

    As in MMSegmentation, probabilities are averaged over scales and flips at the annotation's size, logits where
    sliding windows overlap.

    Raises:
        ValueError: no scale, a scale that is out of range, or both a window and tiles.
    """

    MAX_SCALE: ClassVar[float] = 16  # 256 times the model's usual pixels

    scales: tuple[float, ...] = option("average over these scales of the input, relative to the model's own", (1.0,))
    flip: bool = option("average with the mirrored image, too", False)
    window: int | None = option(
        "slide a window of this side in pixels over the input, two thirds of it apart; default the whole image", None
    )
    tile: int | None = option(
        "see large images at full detail, in tiles of at most this side in pixels that share the whole image's "
        "context; at scale 1 an image is then never shown smaller than it is; 1024 is a good size",
        None,
    )
    halo: int = option("pixels of real image around a tile", 128)

    def __post_init__(self):
        check(self)
        if not self.scales or not all(0 < scale <= self.MAX_SCALE for scale in self.scales):
            raise ValueError(f"scales must be one or more positive numbers up to {self.MAX_SCALE}, got {self.scales}")
        if self.window is not None and self.tile is not None:
            raise ValueError(f"window={self.window} and tile={self.tile} exclude each other; leave one out")

    def sentence(self, transform: Transform) -> str:
        """The view in words, with a model's transform."""
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
