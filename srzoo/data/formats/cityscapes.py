"""Cityscapes (fine annotations) with torchvision's table of its classes, nineteen of which the benchmark counts."""

from pathlib import Path

from ...labels import IGNORE
from ...labels.street import CITYSCAPES
from ..files import NoSplit, files_by_stem, pair
from ..masks import IdMap
from ..samples import FilePairs
from .format import Format


class Cityscapes(Format):
    name = "cityscapes"
    layout = "leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/"
    tasks = ("semantic",)

    def matches(self, root: Path) -> bool:
        return (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir()

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs:
        folders = root / "leftImg8bit" / split, root / "gtFine" / split
        if not all(folder.is_dir() for folder in folders):
            raise NoSplit(f"{root} has no folders leftImg8bit/{split} and gtFine/{split}")
        pairs, unpaired = pair(*map(_by_city, folders, ("_leftImg8bit", "_gtFine_labelIds")))
        return FilePairs(self.name, split, CITYSCAPES, _id_map(), pairs, unpaired=unpaired)


def _id_map() -> IdMap:
    """From the ids in the label files to those of the nineteen classes."""
    from torchvision.datasets import Cityscapes as Torchvision

    # Class -1, the licence plate, is not drawn in these files.
    return IdMap({c.id: IGNORE if c.ignore_in_eval else c.train_id for c in Torchvision.classes if c.id >= 0})


def _by_city(folder: Path, suffix: str) -> dict[str, Path]:
    """The files of a split by the name of their city and frame.

    Not as torchvision's dataset lists them: it stops at a .DS_Store, and ignores a mask without an image.
    """
    cities = [city for city in sorted(folder.iterdir()) if city.is_dir() and not city.name.startswith(".")]
    return {f"{city.name}/{name}": path for city in cities for name, path in files_by_stem(city, suffix).items()}
