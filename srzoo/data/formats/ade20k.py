"""ADE20K's 150 classes in the SceneParsing layout: masks store 0 for void and 1 to 150."""

from pathlib import Path

from ...labels import IGNORE
from ...labels.scene import ADE20K
from ..files import files_by_stem, pair
from ..masks import IdMap
from ..samples import FilePairs
from .format import Format

_FOLDERS = {"train": "training", "val": "validation"}
_IDS = IdMap({0: IGNORE, **{i + 1: i for i in range(150)}})


class Ade20k(Format):
    name = "ade20k"
    layout = "images/training/ and annotations/training/, the same with validation/"
    tasks = ("semantic",)

    def matches(self, root: Path) -> bool:
        return (root / "annotations" / "training").is_dir() and (root / "images" / "training").is_dir()

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs:
        folder = _FOLDERS.get(split, split)
        pairs, unpaired = pair(files_by_stem(root / "images" / folder), files_by_stem(root / "annotations" / folder))
        return FilePairs(self.name, split, ADE20K, _IDS, pairs, unpaired=unpaired)
