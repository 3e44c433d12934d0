"""The names of all models. Imports no torch, so that `srzoo list` is fast."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import Literal

from ..messages import nearest, shortened
from .datasets import ANY_DATASET, DATASETS
from .run_files import meant_by
from .transform import Transform


@dataclass(frozen=True)
class Backbone:
    """A backbone with its options.

    Attributes:
        title: a phrase that describes it.
        options: keyword arguments of the network's class that concern the backbone.
        mean, std: of each RGB channel in 0..1, as its pretrained weights expect.
        licence: the terms of its pretrained weights; empty if there are none.
    """

    title: str
    options: dict = field(hash=False)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    licence: str = ""


@dataclass(frozen=True)
class Architecture:
    """A network with a backbone, for a task.

    Attributes:
        title: a phrase that describes it, without the backbone.
        task: name of the task. There is an entry for every dataset with labels for this task.
        network: a key of `srzoo.models.NETWORKS`.
        backbone: the backbone and its options.
        head: keyword arguments of the network's class for everything after the backbone.
        recipes: names of recipes by dataset, for datasets where it is not trained by the recipe of the dataset.
        fit: how its input gets sides that are multiples of its stride, see `Transform`.
    """

    title: str
    task: str
    network: str
    backbone: Backbone
    head: dict = field(hash=False, default_factory=dict)
    recipes: dict[str, str] = field(hash=False, default_factory=dict)
    fit: Literal["stretch", "pad"] = "stretch"

    @property
    def options(self) -> dict:
        """Keyword arguments of the network's class, without ``num_classes``."""
        return {**self.backbone.options, **self.head}

    @property
    def description(self) -> str:
        """A phrase that describes the network and its backbone."""
        return f"{self.title}, over {self.backbone.title}"

    @property
    def has_backbone(self) -> bool:
        """False for "srnet", which needs the name of a timm backbone from the user.

        Its network also takes what `srzoo.backbones.probe` finds: ``backbone_options`` and ``size_divisor``.
        """
        return "backbone" in self.options

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets with labels for its task; there is an entry for each."""
        return [name for name, data in DATASETS.items() if self.task in data.labels] if self.has_backbone else []


ARCHITECTURES: dict[str, Architecture] = {}


def register(name: str, architecture: Architecture) -> None:
    """Add an architecture, with an entry ``<name>_<dataset>`` for every dataset that has labels for its task.

    Raises:
        ValueError: one of these names is registered already.
    """
    taken = set(names()) & {name, *(f"{name}_{dataset}" for dataset in architecture.datasets)}
    if taken:
        raise ValueError(f"{min(taken)!r} is registered already; choose another name")
    ARCHITECTURES[name] = architecture


def split_name(name: str) -> tuple[str, str | None]:
    """Split a name into ``(architecture, dataset)``; the dataset is None for an architecture alone.

    Raises:
        ValueError: unknown name; the message suggests the nearest one.
    """
    known = isinstance(name, str)
    if known and name in ARCHITECTURES:
        return name, None
    for dataset in DATASETS if known else ():
        entry = ARCHITECTURES.get(architecture := name.removesuffix(f"_{dataset}"))
        if entry is not None and dataset in entry.datasets:
            return architecture, dataset
    meant = meant_by(name) or f"{nearest(name, names())}; `srzoo list` shows all names"
    shown = repr(name) if isinstance(name, str) else shortened(name)
    raise ValueError(f"unknown model {shown}{meant}")


def names() -> list[str]:
    """All names that `create_model` takes, architectures first."""
    entries = [f"{name}_{dataset}" for name, entry in ARCHITECTURES.items() for dataset in entry.datasets]
    return [*ARCHITECTURES, *sorted(entries)]


def match_names(pattern: str) -> list[str]:
    """The names that match a shell pattern.

    Raises:
        ValueError: the pattern is not a string.
    """
    if not isinstance(pattern, str):
        raise ValueError(f"a pattern of names must be a string, such as 'srnet_*', got {shortened(pattern)}")
    return [name for name in names() if fnmatch.fnmatchcase(name, pattern)]


def recipe_of(architecture: str, dataset: str) -> str:
    """Name of the recipe for an entry that has no recipe of its own name: the architecture's, else the dataset's."""
    entry = ARCHITECTURES[architecture]
    of_dataset = dataset if entry.task == "semantic" else f"{dataset}_{entry.task}"
    return entry.recipes.get(dataset, of_dataset)


def default_transform(architecture: str, dataset: str | None) -> Transform:
    """The transform from an image to the input of an entry, or of an architecture alone (``dataset`` is None).

    Its ``multiple`` is 1. The network sets the right one when it is built.
    """
    entry, data = ARCHITECTURES[architecture], DATASETS.get(dataset, ANY_DATASET)
    statistics = {"mean": entry.backbone.mean, "std": entry.backbone.std}
    if entry.fit == "stretch":
        return Transform(data.short_side, **statistics)
    # 1333 for 800, as detectors have it, and more for a dataset of longer images.
    long_side = round(data.short_side * max(_DETECTOR_RATIO, max(data.frame) / min(data.frame)))
    return Transform(data.short_side, long_side=long_side, fit="pad", **statistics)


_DETECTOR_RATIO = 1333 / 800
_DILATED = {"output_stride": 8, "multi_grid": (1, 2, 4)}
_GLUON = "ResNet deep stem by GluonCV, converted by timm: Apache-2.0; trained on ImageNet (research use)"
_ANY = Backbone("any timm backbone", {})
_R50 = Backbone(
    "a dilated ResNet-50 with the deep stem, stride 8", {"backbone": "resnet50s", **_DILATED}, licence=_GLUON
)
_R101 = Backbone(
    "a dilated ResNet-101 with the deep stem, stride 8", {"backbone": "resnet101s", **_DILATED}, licence=_GLUON
)
_WRN38 = Backbone("a dilated Wider-ResNet-38, stride 8", {"backbone": "wider_resnet38_a2", "output_stride": 8})
_LITE0 = Backbone(
    "EfficientNet-Lite0 at stride 16, with a light decoder to stride 4",
    {"backbone": "tf_efficientnet_lite0", "output_stride": 16, "decoder_strides": (8, 4)},
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    licence="EfficientNet-Lite0 by Google, packaged by ML Illustrated: Apache-2.0; trained on ImageNet (research use)",
)
_DFV1 = Backbone("DFNet v1", {"backbone": "dfnet_v1", "levels": (3, 4, 5)})
_DFV2 = Backbone("DFNet v2", {"backbone": "dfnet_v2", "levels": (3, 5, 7)})


def _srnet(backbone: Backbone, **head) -> Architecture:
    return Architecture("SRNet", "semantic", "srnet", backbone, {"context": "sr", **head})


def _fcn(backbone: Backbone) -> Architecture:
    head = {"context": "none", "channels": None}
    return Architecture("FCN, the baseline without a head", "semantic", "srnet", backbone, head)


def _dfseg(title: str, backbone: Backbone, context: str) -> Architecture:
    recipes = {"cityscapes": "cityscapes_realtime"}
    return Architecture(title, "semantic", "dfseg", backbone, {"context": context}, recipes)


# With any timm backbone: create_model("srnet", backbone=..., num_classes=...).
register("srnet", _srnet(_ANY))
register("srnet_r50", _srnet(_R50, channels=512))
register("srnet_r101", _srnet(_R101, channels=512))
register("srnet_wrn38", _srnet(_WRN38, channels=512))
register("srnet_lite0", _srnet(_LITE0, channels=128))
register("srnet_dfv2", _dfseg("SRNet in real time, DFSeg with the block", _DFV2, "sr"))
register("fcn_r50", _fcn(_R50))
register("fcn_r101", _fcn(_R101))
register("fcn_wrn38", _fcn(_WRN38))
register("fcn_lite0", _fcn(_LITE0))
register("dfseg_v1", _dfseg("DFSeg, the real-time baseline", _DFV1, "psp"))
register("dfseg_v2", _dfseg("DFSeg, the real-time baseline", _DFV2, "psp"))


_TIMM = "by timm: Apache-2.0; trained on ImageNet (research use)"
_PLAIN_R50 = Backbone("a ResNet-50", {"backbone": "resnet50"}, licence=f"ResNet-50 {_TIMM}")
_PLAIN_R101 = Backbone("a ResNet-101", {"backbone": "resnet101"}, licence=f"ResNet-101 {_TIMM}")
_X101 = Backbone("a ResNeXt-101 32x4d", {"backbone": "resnext101_32x4d"}, licence=f"ResNeXt-101 {_TIMM}")
_LIGHT = Backbone("EfficientNet-Lite0", {"backbone": "tf_efficientnet_lite0"}, _LITE0.mean, _LITE0.std, _LITE0.licence)
# At most 16 MB in float16, and a third of the multiply-adds of the backbone in the heads.
_LIGHT_HEADS = {"channels": 96, "box_channels": 384, "mask_layers": (96, 96, 96)}
_ANY_UNDILATED = Backbone("any timm backbone", {"output_stride": 32})


def _detectors(name: str, title: str, task: str, backbones: dict[str, Backbone], heads: dict[str, dict]) -> None:
    """Register a detector without the block, and "srnet_..." with it, for each backbone, and for any timm backbone."""
    for prefix, context in (("", "none"), ("srnet_", "sr")):
        what = title if context == "none" else f"{title} with the block"
        for suffix, backbone in {"": _ANY_UNDILATED, **backbones}.items():
            head = {"context": context, **heads.get(suffix, {})}
            entry = Architecture(what, task, name, backbone, head, fit="pad")
            register(f"{prefix}{name}{suffix}", entry)


_RESNETS = {"_r50": _PLAIN_R50, "_r101": _PLAIN_R101}
_detectors(
    "mask_rcnn",
    "Mask R-CNN",
    "instance",
    {**_RESNETS, "_x101": _X101, "_lite0": _LIGHT},
    {"_lite0": _LIGHT_HEADS},
)
_detectors("cascade_mask_rcnn", "Cascade Mask R-CNN", "instance", {"_x101": _X101}, {})
_detectors(
    "panoptic_fpn",
    "Panoptic FPN",
    "panoptic",
    {**_RESNETS, "_lite0": _LIGHT},
    {"_lite0": {**_LIGHT_HEADS, "semantic_channels": 64}},
)
