"""ADE20K's 150 classes in the SceneParsing layout: masks store 0 for void and 1 to 150."""

from pathlib import Path

from ...labels import IGNORE
from ...labels.scene import ADE20K
from ..files import files_by_stem, pair
from ..masks import IdMap
from ..samples import FilePairs

LAYOUT = "images/training/ and annotations/training/, the same with validation/"

_FOLDERS = {"train": "training", "val": "validation"}
_IDS = IdMap({0: IGNORE, **{i + 1: i for i in range(150)}})


def matches(root: Path) -> bool:
    return (root / "annotations" / "training").is_dir() and (root / "images" / "training").is_dir()


def read(root: Path, split: str) -> FilePairs:
    folder = _FOLDERS.get(split, split)
    pairs, unpaired = pair(files_by_stem(root / "images" / folder), files_by_stem(root / "annotations" / folder))
    return FilePairs("ade20k", split, ADE20K, _IDS, pairs, unpaired=unpaired)
