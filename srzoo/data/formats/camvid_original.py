"""CamVid as published: 960x720 frames, masks of 32 colours, here as the eleven classes of the SegNet split."""

from pathlib import Path

from ...labels import IGNORE
from ...labels.street import CAMVID
from ..files import NoSplit, files_by_stem, pair
from ..masks import IdMap
from ..samples import FilePairs
from .format import Format

_FRAMES, _MASKS = "701_StillsRaw_full", "LabeledApproved_full"

# Which of the 32 classes make up each of the eleven (Sturgess et al., 2009; Badrinarayanan et al., 2017).
_GROUPS = {
    "sky": [(128, 128, 128)],
    # Building, Archway, Bridge, Tunnel, Wall
    "building": [(128, 0, 0), (192, 0, 128), (0, 128, 64), (64, 0, 64), (64, 192, 0)],
    # Column_Pole, TrafficCone
    "pole": [(192, 192, 128), (0, 0, 64)],
    # Road, LaneMkgsDriv, LaneMkgsNonDriv
    "road": [(128, 64, 128), (128, 0, 192), (192, 0, 64)],
    # Sidewalk, ParkingBlock, RoadShoulder
    "pavement": [(0, 0, 192), (64, 192, 128), (128, 128, 192)],
    # Tree, VegetationMisc
    "tree": [(128, 128, 0), (192, 192, 0)],
    # SignSymbol, Misc_Text, TrafficLight
    "sign": [(192, 128, 128), (128, 128, 64), (0, 64, 64)],
    "fence": [(64, 64, 128)],
    # Car, SUVPickupTruck, Truck_Bus, Train, OtherMoving
    "car": [(64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)],
    # Pedestrian, Child, CartLuggagePram, Animal
    "pedestrian": [(64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)],
    # Bicyclist, MotorcycleScooter
    "bicyclist": [(0, 128, 192), (192, 0, 192)],
}
_VOID = (0, 0, 0)


def id_map() -> IdMap:
    """From the 32 colours to the eleven classes."""
    classes = CAMVID.classes
    return IdMap({_VOID: IGNORE} | {colour: classes.index(name) for name in classes for colour in _GROUPS[name]})


class CamVidOriginal(Format):
    name = "camvid_original"
    layout = "701_StillsRaw_full/ and LabeledApproved_full/, or <split>/ and <split>_labels/"
    tasks = ("semantic",)

    def matches(self, root: Path) -> bool:
        return (root / _MASKS).is_dir() or any(root.glob("*?_labels/*_L.png"))

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs:
        if (root / _FRAMES).is_dir():
            images, masks = (
                {name: path for name, path in files_by_stem(root / folder, suffix).items() if _split_of(name) == split}
                for folder, suffix in ((_FRAMES, ""), (_MASKS, "_L"))
            )
            if not images:
                raise NoSplit(f"{root / _FRAMES} has no frame of the split {split!r}")
        else:
            images, masks = files_by_stem(root / split), files_by_stem(root / f"{split}_labels", "_L")
        pairs, unpaired = pair(images, masks)
        return FilePairs(self.name, split, CAMVID, id_map(), pairs, unpaired=unpaired)


def _split_of(frame: str) -> str:
    """The SegNet split (367 train, 101 val, 233 test) by a frame's sequence and number, e.g. ``0016E5_07959``."""
    sequence, _, number = frame.partition("_")
    if sequence == "0001TP":
        return "train" if number <= "008520" else "test"
    if sequence == "0016E5":
        # The 15 Hz stretch, every other frame; the rest of the sequence is 1 Hz, in steps of 30.
        return "val" if "07959" <= number <= "08159" and int(number) % 2 else "train"
    return "train" if sequence == "0006R0" else "test"
