"""How an image is passed to a panoptic model. Imports no torch, since every command line of ``srzoo eval`` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...options import check, documented, option
from ..instance.view import one_pass

if TYPE_CHECKING:
    from ...zoo.transform import Transform


@documented
@dataclass(frozen=True)
class View:
    """One pass over the image, and how objects and surfaces are merged (Kirillov et al., 2019).

    Raises:
        ValueError: a value is out of range.
    """

    MEASURED: ClassVar[Mapping[str, Any]] = {}
    FROM_RECIPE: ClassVar[tuple[str, ...]] = ()

    score: float = option("least score of an object, of which a model may bring its own", 0.5, low=0, high=1)
    detections: int = option("number of objects in an image at most", 100, low=1)
    overlap: float = option(
        "an object of which objects of higher score cover more than this share is dropped; a model may bring its own",
        0.5,
        low=0,
        high=1,
    )
    stuff_area: int = option(
        "a kind of surface with fewer pixels in the image becomes void; a model may bring its own", 4096, low=0
    )

    def __post_init__(self):
        check(self)

    def sentence(self, transform: Transform) -> str:
        """The view in words, for the protocol of a receipt; ``transform`` is the one of the model."""
        return (
            f"{one_pass(transform)}, at most {self.detections} objects of score {self.score:g} or more, dropped where "
            f"more than {self.overlap:g} is covered, surfaces of {self.stuff_area} pixels or more"
        )
