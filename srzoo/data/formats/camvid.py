"""CamVid in the layout of the SegNet tutorial: ``train/``, ``trainannot/``, ``val/`` ... of 480x360 PNG files."""

from pathlib import Path

from ...labels import IGNORE
from ...labels.street import CAMVID
from ..files import files_by_stem, pair
from ..masks import IdMap
from ..samples import FilePairs

LAYOUT = "<split>/ and <split>annot/"

_IDS = IdMap({**{i: i for i in range(11)}, 11: IGNORE})


def matches(root: Path) -> bool:
    return any(folder.with_name(folder.name.removesuffix("annot")).is_dir() for folder in root.glob("*?annot"))


def read(root: Path, split: str) -> FilePairs:
    pairs, unpaired = pair(files_by_stem(root / split), files_by_stem(root / f"{split}annot"))
    return FilePairs("camvid", split, CAMVID, _IDS, pairs, unpaired=unpaired)
