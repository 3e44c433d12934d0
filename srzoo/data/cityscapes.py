"""Cityscapes (fine annotations) as torchvision reads it, with the benchmark's nineteen classes."""

from pathlib import Path

from .dataset import FilePairs, NoSplit, pair
from .labels import IGNORE, LABEL_SETS
from .masks import IdMap

LAYOUT = "leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/"


def matches(root: Path) -> bool:
    return (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir()


def read(root: Path, split: str) -> FilePairs:
    from torchvision.datasets import Cityscapes

    if not all((root / folder / split).is_dir() for folder in ("leftImg8bit", "gtFine")):
        raise NoSplit(f"{root} has no folders leftImg8bit/{split} and gtFine/{split}")
    files = Cityscapes(root, split, target_type="semantic")
    mask_of = {image: mask for image, (mask,) in zip(files.images, files.targets, strict=True)}
    images = {image: Path(image) for image in sorted(mask_of)}
    masks = {image: Path(mask) for image, mask in mask_of.items() if Path(mask).is_file()}
    pairs, unpaired = pair(images, masks)
    # Class -1, the licence plate, is not drawn in these files.
    ids = {c.id: IGNORE if c.ignore_in_eval else c.train_id for c in Cityscapes.classes if c.id >= 0}
    return FilePairs("cityscapes", split, LABEL_SETS["cityscapes"], IdMap(ids), pairs, unpaired=unpaired)
