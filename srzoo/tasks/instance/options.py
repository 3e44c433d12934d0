"""The block ``instance`` of a recipe. Imports no torch, since every command line of ``srzoo train`` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...options import check, documented, option


@documented
@dataclass(kw_only=True)
class InstanceOptions:
    """Keys of instance segmentation: the augmentation, what is frozen, and the weights of the losses.

    Sizes are in pixels, shares are fractions.
    """

    crop: int | None = option("side of the square crop, in pixels; null for the whole image", None, low=32, high=8192)
    scale: tuple[float, float] = option(
        "range of the random resize factor before the crop, drawn log-uniformly", (1.0, 1.0), low=0.01, high=16
    )
    min_share: float = option("an object of which the crop leaves less than this share is dropped", 0.3, low=0, high=1)
    jitter: float = option("strength of the colour jitter", 0.0, low=0, high=1)
    flip: bool = option("mirror images left to right at random; false where left and right differ, as in text", True)
    vertical_flip: bool = option("also mirror images top to bottom at random, for views from above", False)
    turns: bool = option("also turn images by 0, 90, 180 or 270 degrees at random, for views from above", False)
    copy_paste: float = option(
        "probability that a class is drawn, all with the same chance, whose objects in a crop of another image are "
        "copied into an image (copy-paste); helps where images of a class are few",
        0.0,
        low=0,
        high=1,
    )
    frozen_statistics: Literal["auto", "yes", "no"] = option(
        "whether BatchNorms keep their running statistics: yes, no, or auto for yes with fewer than 8 images at a time",
        "auto",
    )
    frozen_stages: int = option("number of the backbone's first stages that are not trained, with the stem", 0, low=0)
    regions: int = option(
        "regions of an image that the heads learn from in a step, a quarter of them objects, at most; fewer are faster",
        512,
        low=4,
        high=4096,
    )
    rpn_weight: float = option("weight of the two losses of the proposals", 1.0, low=0)
    box_weight: float = option("weight of the losses of classes and boxes", 1.0, low=0)
    mask_weight: float = option("weight of the masks' loss", 1.0, low=0)

    def __post_init__(self):
        check(self)
        if not self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two numbers 0 < low <= high, got {self.scale}")

    def weights(self) -> dict[str, float]:
        """The weight of each loss of `srzoo.models.MaskRCNN`."""
        return {
            "objectness": self.rpn_weight,
            "rpn box": self.rpn_weight,
            "class": self.box_weight,
            "box": self.box_weight,
            "mask": self.mask_weight,
        }
