"""The classes and colours of street scenes and buildings, in order of id."""

from .label_set import LabelSet, label_set

# The eleven classes of the SegNet split of CamVid and that project's colours.
CAMVID = label_set(
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
    }
)

# The nineteen classes of the Cityscapes benchmark, by train id.
CITYSCAPES = label_set(
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
    }
)

# The benchmark's kinds of objects are its last eight classes, from person to bicycle.
_FIRST_THING = CITYSCAPES.classes.index("person")
CITYSCAPES_INSTANCE = LabelSet(CITYSCAPES.classes[_FIRST_THING:], CITYSCAPES.palette[_FIRST_THING:])
CITYSCAPES_PANOPTIC = LabelSet(
    CITYSCAPES.classes, CITYSCAPES.palette, tuple(i >= _FIRST_THING for i in range(len(CITYSCAPES.classes)))
)
# The ids of the nineteen classes in the files, in order of class id; the last eight are those of the objects.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

# The five kinds of objects and five of surfaces of the building facades.
_FACADE_THINGS = {
    "car": (0, 0, 142),
    "window": (70, 130, 180),
    "balcony-fence": (190, 153, 153),
    "shop": (220, 20, 60),
    "traffic-infrastructure": (250, 170, 30),
}
_FACADE_STUFF = {
    "facade": (70, 70, 70),
    "fence": (102, 102, 156),
    "non-building-infrastructure": (150, 100, 100),
    "street": (128, 64, 128),
    "vegetation": (107, 142, 35),
}
FACADE_INSTANCE = label_set(_FACADE_THINGS)
FACADE_SEMANTIC = label_set(_FACADE_THINGS | _FACADE_STUFF)
FACADE_PANOPTIC = LabelSet(
    FACADE_SEMANTIC.classes,
    FACADE_SEMANTIC.palette,
    (True,) * len(_FACADE_THINGS) + (False,) * len(_FACADE_STUFF),
)
