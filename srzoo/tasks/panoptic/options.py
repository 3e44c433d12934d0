"""The block ``panoptic`` of a recipe. Imports no torch, since every command line of ``srzoo train`` reads it."""

from __future__ import annotations

from dataclasses import dataclass

from ...options import documented, option
from ..instance.options import InstanceOptions


@documented
@dataclass(kw_only=True)
class PanopticOptions(InstanceOptions):
    """Keys of panoptic segmentation: those of instance segmentation, and the weight of the semantic loss.

    Sizes are in pixels, shares are fractions.
    """

    semantic_weight: float = option("weight of the semantic head's cross-entropy", 0.5, low=0)

    def weights(self) -> dict[str, float]:
        """The weight of each loss of `srzoo.models.PanopticFPN`."""
        return {**super().weights(), "semantic": self.semantic_weight}
