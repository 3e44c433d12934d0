"""The classes and colours of each dataset. Imports no torch, as `srzoo list` and `srzoo info` need it at once."""

from dataclasses import dataclass

from .scene_labels import ADE20K, PASCAL_CONTEXT

IGNORE = 255


@dataclass(frozen=True)
class LabelSet:
    """The classes of a dataset: a name and an RGB colour (0..255) for each id, in order of id.

    Attributes:
        title: the dataset as its authors write it.
        licence: its terms, for the licence chain.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    title: str
    licence: str

    def __post_init__(self):
        if len(self.classes) != len(self.palette):
            raise ValueError(f"{len(self.classes)} classes but {len(self.palette)} colours")


def _label_set(title: str, licence: str, table: dict[str, tuple[int, int, int]]) -> LabelSet:
    return LabelSet(tuple(table), tuple(table.values()), title, f"{title} {licence}")


LABEL_SETS: dict[str, LabelSet] = {
    # The eleven classes of the SegNet split of CamVid and that project's colours.
    "camvid": _label_set(
        "CamVid",
        "(Brostow et al., 2008): research use only",
        {
            "sky": (128, 128, 128),
            "building": (128, 0, 0),
            "pole": (192, 192, 128),
            "road": (128, 64, 128),
            "pavement": (60, 40, 222),
            "tree": (128, 128, 0),
            "sign": (192, 128, 128),
            "fence": (64, 64, 128),
            "car": (64, 0, 128),
            "pedestrian": (64, 64, 0),
            "bicyclist": (0, 128, 192),
        },
    ),
    # The nineteen classes of the Cityscapes benchmark, by train id.
    "cityscapes": _label_set(
        "Cityscapes",
        "(Cordts et al., 2016): non-commercial use only",
        {
            "road": (128, 64, 128),
            "sidewalk": (244, 35, 232),
            "building": (70, 70, 70),
            "wall": (102, 102, 156),
            "fence": (190, 153, 153),
            "pole": (153, 153, 153),
            "traffic light": (250, 170, 30),
            "traffic sign": (220, 220, 0),
            "vegetation": (107, 142, 35),
            "terrain": (152, 251, 152),
            "sky": (70, 130, 180),
            "person": (220, 20, 60),
            "rider": (255, 0, 0),
            "car": (0, 0, 142),
            "truck": (0, 0, 70),
            "bus": (0, 60, 100),
            "train": (0, 80, 100),
            "motorcycle": (0, 0, 230),
            "bicycle": (119, 11, 32),
        },
    ),
    "ade20k": _label_set(
        "ADE20K", "(Zhou et al., 2017): annotations BSD-3-Clause, photographs for non-commercial research only", ADE20K
    ),
    "pascal_context": _label_set(
        "PASCAL Context", "(Mottaghi et al., 2014): photographs under Flickr's terms, research use", PASCAL_CONTEXT
    ),
}
