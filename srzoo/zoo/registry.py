"""Every name of the zoo. Imports no torch, so that `srzoo list` answers at once."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field

from ..messages import nearest
from .datasets import ANY_DATASET, DATASETS
from .transform import Transform


@dataclass(frozen=True)
class Trunk:
    """A backbone as the zoo uses it.

    Attributes:
        title: in words.
        options: keyword arguments of the family's class that belong to the backbone.
        mean, std: normalisation it was trained with.
        licence: of its pretrained weights, for the licence chain; empty where there are none.
    """

    title: str
    options: dict = field(hash=False)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    licence: str = ""


@dataclass(frozen=True)
class Architecture:
    """A family of models over a trunk.

    Attributes:
        title: in words, without the trunk.
        family: a key of `srzoo.models.FAMILIES`.
        trunk: what it stands on.
        head: keyword arguments of the family's class that belong to what stands on the trunk.
    """

    title: str
    family: str
    trunk: Trunk
    head: dict = field(hash=False, default_factory=dict)
    task: str = "semantic"

    @property
    def options(self) -> dict:
        """Keyword arguments of the family's class, without ``num_classes``."""
        return {**self.trunk.options, **self.head}

    @property
    def description(self) -> str:
        return f"{self.title}, over {self.trunk.title}"

    @property
    def has_backbone(self) -> bool:
        """False for "srnet", which takes any timm backbone and needs to be told which."""
        return "backbone" in self.options


ARCHITECTURES: dict[str, Architecture] = {}


def register(name: str, architecture: Architecture) -> None:
    """Add an architecture, and with it ``<name>_<dataset>`` for every dataset.

    Raises:
        ValueError: one of these names is taken.
    """
    taken = set(names()) & {name, *(f"{name}_{dataset}" for dataset in DATASETS)}
    if taken:
        raise ValueError(f"{min(taken)!r} is registered already; choose another name")
    ARCHITECTURES[name] = architecture


def split_name(name: str) -> tuple[str, str | None]:
    """``(architecture, dataset)`` of a name; the dataset is None for a bare architecture.

    Raises:
        ValueError: no such name; the message has the nearest one.
    """
    known = isinstance(name, str)
    if known and name in ARCHITECTURES:
        return name, None
    for dataset in DATASETS if known else ():
        architecture = name.removesuffix(f"_{dataset}")
        if architecture != name and architecture in ARCHITECTURES and ARCHITECTURES[architecture].has_backbone:
            return architecture, dataset
    raise ValueError(f"unknown model {name!r}{nearest(name, names())}; `srzoo list` shows all")


def names() -> list[str]:
    """Every name that `create_model` takes, architectures first."""
    entries = [
        f"{name}_{dataset}" for name, entry in ARCHITECTURES.items() if entry.has_backbone for dataset in DATASETS
    ]
    return [*ARCHITECTURES, *sorted(entries)]


def match_names(pattern: str) -> list[str]:
    """The names that match a shell pattern."""
    return [name for name in names() if fnmatch.fnmatchcase(name, pattern)]


def default_transform(architecture: str, dataset: str | None) -> Transform:
    trunk = ARCHITECTURES[architecture].trunk
    stride = trunk.options.get("output_stride", 32)
    return Transform(DATASETS.get(dataset, ANY_DATASET).short_side, mean=trunk.mean, std=trunk.std, multiple=stride)


_DILATED = {"output_stride": 8, "multi_grid": (1, 2, 4)}
_GLUON = "ResNet deep stem by GluonCV, converted by timm: Apache-2.0; trained on ImageNet (research use)"
_ANY = Trunk("any timm backbone", {})
_R50 = Trunk("a dilated ResNet-50 with the deep stem, stride 8", {"backbone": "resnet50s", **_DILATED}, licence=_GLUON)
_R101 = Trunk(
    "a dilated ResNet-101 with the deep stem, stride 8", {"backbone": "resnet101s", **_DILATED}, licence=_GLUON
)
_WRN38 = Trunk("a dilated Wider-ResNet-38, stride 8", {"backbone": "wider_resnet38_a2", "output_stride": 8})
_LITE0 = Trunk(
    "EfficientNet-Lite0 at stride 16, with a light decoder to stride 4",
    {"backbone": "tf_efficientnet_lite0", "output_stride": 16, "decoder_strides": (8, 4)},
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    licence="EfficientNet-Lite0 by Google, packaged by ML Illustrated: Apache-2.0; trained on ImageNet (research use)",
)
_DFV1 = Trunk("DFNet v1", {"backbone": "dfnet_v1", "levels": (3, 4, 5)})
_DFV2 = Trunk("DFNet v2", {"backbone": "dfnet_v2", "levels": (3, 5, 7)})
_SR = {"context": "sr", "channels": 512}
_NO_HEAD = {"context": "none", "channels": None}

# Over any timm backbone: create_model("srnet", backbone=..., num_classes=...).
register("srnet", Architecture("SRNet", "srnet", _ANY, {"context": "sr"}))
register("srnet_r50", Architecture("SRNet", "srnet", _R50, _SR))
register("srnet_r101", Architecture("SRNet", "srnet", _R101, _SR))
register("srnet_wrn38", Architecture("SRNet", "srnet", _WRN38, _SR))
register("srnet_lite0", Architecture("SRNet", "srnet", _LITE0, {**_SR, "channels": 128}))
register("srnet_dfv2", Architecture("SRNet in real time, DFSeg with the block", "dfseg", _DFV2, {"context": "sr"}))
register("fcn_r50", Architecture("FCN, the baseline without a head", "srnet", _R50, _NO_HEAD))
register("fcn_r101", Architecture("FCN, the baseline without a head", "srnet", _R101, _NO_HEAD))
register("fcn_wrn38", Architecture("FCN, the baseline without a head", "srnet", _WRN38, _NO_HEAD))
register("fcn_lite0", Architecture("FCN, the baseline without a head", "srnet", _LITE0, _NO_HEAD))
register("dfseg_v1", Architecture("DFSeg, the real-time baseline", "dfseg", _DFV1, {"context": "psp"}))
register("dfseg_v2", Architecture("DFSeg, the real-time baseline", "dfseg", _DFV2, {"context": "psp"}))
