"""How the files of a dataset are read: what a user chose, and what a run and its model keep of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..options import check, documented, option
from .masks import parse_id_map


@documented
@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the files of a dataset are read."""

    format: str | None = option("format of the dataset; by default it is detected from the folder", None)
    root: str | None = option("folder of the dataset", None)
    id_map: dict | None = option(
        "class id of each value or colour in the masks, 255 for void: '{0: 255, 1: 0}' or \"{'#ff0000': 0}\"", None
    )
    images: str | None = option("pattern of the image files within the folder, such as 'photos/**/*.jpg'", None)
    masks: str | None = option("pattern of their mask files, such as 'drawn/**/*_mask.png'", None)
    snap: bool = option("read a value or colour that the id map lacks as the nearest one in it: for JPEG masks", False)
    resize_masks: bool = option("resize masks to the size of their images, without interpolation", False)
    skip_unusable: bool = option("leave out files without a partner, and annotation files that cannot be read", False)
    holdout: float | str | None = option(
        "share of the images held out for val where the dataset has none, by folder, name or time, 0.2 by default; or "
        "fifth for every fifth file, as version 0.1 did",
        None,
        low=0,
        high=1,
        wanted="a share between 0 and 1, or fifth",
    )

    def __post_init__(self):
        check(self)
        if isinstance(self.holdout, str) and self.holdout != "fifth":
            raise ValueError(f"holdout must be a share between 0 and 1, or fifth, got {self.holdout!r}")
        if (self.images is None) != (self.masks is None):
            given, other = ("images", "masks") if self.images else ("masks", "images")
            raise ValueError(f"{given} is given without {other}: pass both --data.images and --data.masks")

    def given(self) -> dict[str, Any]:
        """What differs from the defaults, by name."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}

    def arguments(self, root: str) -> list[str]:
        """The command line options that read it so again, from the folder ``root``."""
        words = []
        for name, value in replace(self, root=root).given().items():
            words.append(f"--data.{name}")
            if name == "id_map":
                words.append(parse_id_map(value).to_yaml())
            elif value is not True:
                words.append(str(value))
        return words

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def check_root(reading: Mapping[str, Any]) -> None:
    """Raises ValueError if there is no folder to read."""
    if not reading.get("root"):
        raise ValueError("which data? pass --data.root PATH, the folder of the dataset")
