"""The block ``semantic`` of a recipe. Imports no torch, since every command line of ``srzoo train`` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...options import check, documented, option


@documented
@dataclass(kw_only=True)
class SemanticOptions:
    """Keys of semantic segmentation: the augmentation, and the terms of the loss.

    Sizes are in pixels, shares are fractions.
    """

    crop: int = option("side of the square crop, in pixels", low=1, high=8192)
    scale: tuple[float, float] = option(
        "range of the random resize factor before the crop, drawn log-uniformly", low=0.01, high=16
    )
    max_class_share: float = option(
        "a crop in which one class covers more than this share is drawn again, up to ten times; 1 to accept every crop",
        0.75,
        low=0,
        high=1,
    )
    jitter: float = option("strength of the colour jitter", 0.3, low=0, high=1)
    blur: float = option("probability of a Gaussian blur", 0.0, low=0, high=1)
    noise: float = option(
        "Gaussian noise, whose standard deviation is drawn from 0 to this share of the range of the values",
        0.0,
        low=0,
        high=1,
    )
    flip: bool = option("mirror images left to right at random; false where left and right differ, as in text", True)
    vertical_flip: bool = option("also mirror images top to bottom at random, for views from above", False)
    turns: bool = option("also turn crops by 0, 90, 180 or 270 degrees at random, for views from above", False)
    loss: Literal["cross_entropy", "focal", "bce"] = option(
        "the main loss of each pixel and that of the auxiliary head: cross_entropy, focal, or bce for a binary "
        "cross-entropy of each class against the others",
        "cross_entropy",
    )
    focal_gamma: float = option("exponent of the focal loss; 0 is the cross-entropy", 2.0, low=0, high=16)
    class_weights: bool | tuple[float, ...] = option(
        "weights of the classes in the cross-entropies: true for higher weights of rare classes, false for none, or a "
        "number for each class",
        True,
        low=0,
        wanted="true, false or a number for each class",
    )
    ohem: tuple[float, int] | None = option(
        "online hard example mining in the main cross-entropy: probability threshold and least number of pixels kept "
        "over all images of a step, see `srzoo_kernels.upsample_cross_entropy`",
        None,
        low=0,
    )
    label_smoothing: float = option("label smoothing of the cross-entropies", 0.0, low=0, high=1)
    lovasz: float = option("weight of Lovasz-Softmax", 0.5, low=0)
    dice: float = option("weight of the Dice loss", 0.0, low=0)
    aux: float = option("weight of the auxiliary head's cross-entropy", 0.4, low=0)
    leave_out: tuple[str, ...] = option(
        "classes left out of the mean figures by which the best epoch is chosen, such as background", ()
    )
    teacher: str | None = option("a trained model for distillation, by its name or file", None)
    distill: float = option("weight of the distillation loss", 1.0, low=0)

    def __post_init__(self):
        check(self)
        if not self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two numbers 0 < low <= high, got {self.scale}")
        if isinstance(self.class_weights, tuple) and not any(self.class_weights):
            raise ValueError(f"class_weights must be 0 or more, and not all 0, got {self.class_weights}")
        if self.ohem and self.ohem[0] > 1:
            raise ValueError(f"ohem must be a probability from 0 to 1 and a number of pixels, got {self.ohem}")
        if self.loss != "cross_entropy" and (self.ohem or self.label_smoothing):
            name = "ohem" if self.ohem else "label_smoothing"
            raise ValueError(f"{name} is for the loss cross_entropy, not {self.loss}; leave one of them out")
