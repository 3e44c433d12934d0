"""CamVid in the layout of the SegNet tutorial: ``train/``, ``trainannot/``, ``val/`` ... of 480x360 PNG files."""

from pathlib import Path

from ...labels import IGNORE
from ...labels.street import CAMVID
from ..files import files_by_stem, pair
from ..masks import IdMap
from ..samples import FilePairs
from .format import Format

_IDS = IdMap({**{i: i for i in range(11)}, 11: IGNORE})


class CamVid(Format):
    name = "camvid"
    layout = "<split>/ and <split>annot/"
    tasks = ("semantic",)

    def matches(self, root: Path) -> bool:
        return any(folder.with_name(folder.name.removesuffix("annot")).is_dir() for folder in root.glob("*?annot"))

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs:
        pairs, unpaired = pair(files_by_stem(root / split), files_by_stem(root / f"{split}annot"))
        return FilePairs(self.name, split, CAMVID, _IDS, pairs, unpaired=unpaired)
