"""Pascal Context's 59 classes in MMSegmentation's layout: masks store 0 for background, here void, and 1 to 59."""

from pathlib import Path

from ...labels import IGNORE
from ...labels.scene import PASCAL_CONTEXT
from ..files import NoSplit, files_by_stem, pair, read_names
from ..masks import IdMap
from ..samples import FilePairs
from .format import Format

_IDS = IdMap({0: IGNORE, **{i + 1: i for i in range(59)}})


class PascalContext(Format):
    name = "pascal_context"
    layout = "JPEGImages/, SegmentationClassContext/ and ImageSets/SegmentationContext/<split>.txt, maybe in VOC2010/"
    tasks = ("semantic",)

    def matches(self, root: Path) -> bool:
        return (_base(root) / "SegmentationClassContext").is_dir()

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs:
        base = _base(root)
        names = base / "ImageSets" / "SegmentationContext" / f"{split}.txt"
        if not names.is_file():
            raise NoSplit(f"no file {names}")
        images, masks = files_by_stem(base / "JPEGImages"), files_by_stem(base / "SegmentationClassContext")
        pairs, unpaired = pair(images, masks, read_names(names, {*images, *masks}))
        return FilePairs(self.name, split, PASCAL_CONTEXT, _IDS, pairs, unpaired=unpaired)


def _base(root: Path) -> Path:
    return root / "VOC2010" if (root / "VOC2010").is_dir() else root
