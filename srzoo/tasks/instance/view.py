"""How an image is passed to a detector. Imports no torch, since every command line of ``srzoo eval`` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...options import check, documented, option

if TYPE_CHECKING:
    from ...zoo.transform import Transform


@documented
@dataclass(frozen=True)
class View:
    """One pass over the image, and which of its detections are kept.

    Raises:
        ValueError: a value is out of range.
    """

    MEASURED: ClassVar[Mapping[str, Any]] = {"score": 0.05}
    FROM_RECIPE: ClassVar[tuple[str, ...]] = ()

    score: float = option(
        "least score of a detection, of which a model may bring its own; masks are computed for these alone. Average "
        "precision is measured from 0.05",
        0.5,
        low=0,
        high=1,
    )
    detections: int = option("number of detections in an image at most; AP counts 100", 100, low=1)

    def __post_init__(self):
        check(self)

    def sentence(self, transform: Transform) -> str:
        """The view in words, for the protocol of a receipt; ``transform`` is the one of the model."""
        return f"{one_pass(transform)}, at most {self.detections} detections of score {self.score:g} or more"


def one_pass(transform: Transform) -> str:
    """The size of the network's input in words."""
    limit = "" if transform.long_side is None else f", long side at most {transform.long_side}"
    return (
        f"single scale, no flip, short side {transform.short_side}{limit} into the network, padded to multiples of "
        f"{transform.multiple}"
    )
