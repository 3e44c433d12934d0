"""ADE20K's 150 classes in the SceneParsing layout: masks store 0 for void and 1 to 150."""

from pathlib import Path

from .dataset import FilePairs, files_by_stem, pair
from .labels import IGNORE, LABEL_SETS
from .masks import IdMap

LAYOUT = "images/training/ and annotations/training/, the same with validation/"

_FOLDERS = {"train": "training", "val": "validation"}
_IDS = IdMap({0: IGNORE, **{i + 1: i for i in range(150)}})


def matches(root: Path) -> bool:
    return (root / "annotations" / "training").is_dir() and (root / "images" / "training").is_dir()


def read(root: Path, split: str) -> FilePairs:
    folder = _FOLDERS.get(split, split)
    pairs, unpaired = pair(files_by_stem(root / "images" / folder), files_by_stem(root / "annotations" / folder))
    return FilePairs("ade20k", split, LABEL_SETS["ade20k"], _IDS, pairs, unpaired=unpaired)
