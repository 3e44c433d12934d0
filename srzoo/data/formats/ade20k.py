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
        return ((root / "annotations" / "training").is_dir() and (root / "images" / "training").is_dir()) or _is_full(
            root
        )

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs:
        if _is_full(root):
            raise ValueError(
                f"{root} is all of ADE20K, of 3,688 classes, in colours of classes and objects; read the benchmark of "
                "150 classes instead, ADEChallengeData2016.zip of the same site"
            )
        folder = _FOLDERS.get(split, split)
        pairs, unpaired = pair(files_by_stem(root / "images" / folder), files_by_stem(root / "annotations" / folder))
        return FilePairs(self.name, split, ADE20K, _IDS, pairs, unpaired=unpaired)


def _is_full(root: Path) -> bool:
    """Whether a folder has the files that the benchmark was made of."""
    return next((root / "images" / "ADE" / "training").glob("*/*/ADE_train_*_seg.png"), None) is not None
