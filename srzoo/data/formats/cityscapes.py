"""Cityscapes (fine annotations) with torchvision's table of its classes, nineteen of which the benchmark counts."""

from pathlib import Path

from ...labels import IGNORE
from ...labels.street import CITYSCAPES
from ..files import NoSplit, files_by_stem, pair
from ..masks import IdMap
from ..samples import FilePairs

LAYOUT = "leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/"


def matches(root: Path) -> bool:
    return (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir()


def read(root: Path, split: str) -> FilePairs:
    from torchvision.datasets import Cityscapes

    folders = root / "leftImg8bit" / split, root / "gtFine" / split
    if not all(folder.is_dir() for folder in folders):
        raise NoSplit(f"{root} has no folders leftImg8bit/{split} and gtFine/{split}")
    # Not as torchvision's data set lists them: it stops at a .DS_Store, and sees no mask without an image.
    pairs, unpaired = pair(*map(_by_city, folders, ("_leftImg8bit", "_gtFine_labelIds")))
    # Class -1, the licence plate, is not drawn in these files.
    ids = {c.id: IGNORE if c.ignore_in_eval else c.train_id for c in Cityscapes.classes if c.id >= 0}
    return FilePairs("cityscapes", split, CITYSCAPES, IdMap(ids), pairs, unpaired=unpaired)


def _by_city(folder: Path, suffix: str) -> dict[str, Path]:
    """The files of a split by the name of their city and frame."""
    cities = [city for city in sorted(folder.iterdir()) if city.is_dir() and not city.name.startswith(".")]
    return {f"{city.name}/{name}": path for city in cities for name, path in files_by_stem(city, suffix).items()}
