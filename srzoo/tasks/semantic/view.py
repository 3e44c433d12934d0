"""How an image is passed to a semantic model. Imports no torch, since every command line of ``srzoo eval`` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...options import check, documented, option

if TYPE_CHECKING:
    from ...zoo.transform import Transform


@documented
@dataclass(frozen=True)
class View:
    """One pass over the whole image, or several passes whose results are averaged.

    As in MMSegmentation, softmax probabilities are averaged over scales and flips, at the size of the annotation, and
    logits are averaged where sliding windows overlap.

    Raises:
        ValueError: there is no scale, a scale is out of range, or both a window and tiles are given.
    """

    MEASURED: ClassVar[Mapping[str, Any]] = {}
    FROM_RECIPE: ClassVar[tuple[str, ...]] = ("leave_out",)
    MAX_SCALE: ClassVar[float] = 16  # 256 times the usual number of pixels

    scales: tuple[float, ...] = option("average over these scales, relative to the model's usual input size", (1.0,))
    flip: bool = option("also average over the mirrored image", False)
    window: int | None = option(
        "side in pixels of a sliding window, moved by two thirds of its side; by default the whole image is one input",
        None,
    )
    tile: int | None = option(
        "segment large images at full detail, in tiles of at most this side in pixels that share the context of the "
        "whole image; 1024 is a good size",
        None,
    )
    tile_scale: Literal["image", "model"] = option(
        "what tiles see at scale 1: image for every pixel of the image; model for the size at which the model was "
        "trained, where a photograph has more pixels than the training images, but shows no more",
        "image",
    )
    halo: int = option("width in pixels of the image border that a tile sees around it", 128)

    threshold: float | None = option(
        "least probability of the second class, for a model of two classes; by default the more probable one is taken",
        None,
        low=0.001,
        high=0.999,
    )
    leave_out: tuple[str, ...] = option("classes left out of the mean figures, such as background", ())

    def __post_init__(self):
        check(self)
        if not self.scales or not all(0 < scale <= self.MAX_SCALE for scale in self.scales):
            raise ValueError(f"scales must be one or more numbers above 0, up to {self.MAX_SCALE}, got {self.scales}")
        if self.window is not None and self.tile is not None:
            raise ValueError(f"window={self.window} and tile={self.tile} exclude each other; leave one out")

    def sentence(self, transform: Transform) -> str:
        """The view in words, for the protocol of a receipt; ``transform`` is the one of the model."""
        is_plain = self.scales == (1.0,)
        or_larger = (
            "" if self.tile is None or self.tile_scale == "model" else " or the image's own where that is larger"
        )
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
        if self.threshold is not None:
            parts.append(f"the second class from probability {self.threshold:g} on")
        if self.leave_out:
            parts.append(f"means without {', '.join(self.leave_out)}")
        if self.flip or len(self.scales) > 1:
            parts.append("softmax probabilities averaged at the annotation's size")
        return ", ".join([*parts, "labels compared at the annotation's size, one confusion matrix over the split"])
