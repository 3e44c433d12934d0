"""Every name of the zoo. Imports no torch, so that `srzoo list` answers at once."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field

from .data.labels import LABEL_SETS, LabelSet
from .transform import Transform


@dataclass(frozen=True)
class Architecture:
    """A builder's options and where its backbone's weights come from.

    Attributes:
        options: keyword arguments of `srzoo.models.SRNet`.
        mean, std: normalisation its backbone was trained with.
        backbone_licence: licence of the pretrained backbone's weights, for the licence chain.
    """

    options: dict = field(hash=False)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    backbone_licence: str = ""


_RESNET = {"output_stride": 8, "channels": 512, "multi_grid": (1, 2, 4)}
_GLUON = "ResNet deep stem by GluonCV, converted by timm: Apache-2.0; trained on ImageNet (research use)"

ARCHITECTURES: dict[str, Architecture] = {
    # Over any timm backbone: create_model("srnet", backbone=..., num_classes=...).
    "srnet": Architecture({}),
    "srnet_r50": Architecture({"backbone": "resnet50s", **_RESNET}, backbone_licence=_GLUON),
    "srnet_r101": Architecture({"backbone": "resnet101s", **_RESNET}, backbone_licence=_GLUON),
    "srnet_lite0": Architecture(
        {"backbone": "tf_efficientnet_lite0", "output_stride": 16, "channels": 128, "decoder_strides": (8, 4)},
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        backbone_licence="EfficientNet-Lite0 by Google, packaged by ML Illustrated: Apache-2.0; "
        "trained on ImageNet (research use)",
    ),
}

# Short side in pixels as the network sees it. CamVid's 360 are enlarged, Cityscapes is seen as it is.
_SHORT_SIDE = {"camvid": 540, "cityscapes": 1024}
DEFAULT_SHORT_SIDE = 512


def split_name(name: str) -> tuple[str, str | None]:
    """``(architecture, dataset)`` of a name; the dataset is None for a bare architecture.

    Raises:
        ValueError: no such name; the message has the nearest one.
    """
    for architecture in ARCHITECTURES:
        if name == architecture:
            return architecture, None
        dataset = name.removeprefix(architecture + "_")
        if architecture != "srnet" and dataset != name and dataset in LABEL_SETS:
            return architecture, dataset
    raise ValueError(f"unknown model {name!r}{nearest(name, names())}; `srzoo list` shows all")


def names() -> list[str]:
    """Every name that `create_model` takes, architectures first."""
    entries = [
        f"{architecture}_{dataset}"
        for architecture in ARCHITECTURES
        if architecture != "srnet"
        for dataset in LABEL_SETS
    ]
    return [*ARCHITECTURES, *sorted(entries)]


def match_names(pattern: str) -> list[str]:
    """The names that match a shell pattern."""
    return [name for name in names() if fnmatch.fnmatchcase(name, pattern)]


def nearest(name: str, choices: Iterable[str]) -> str:
    """``; did you mean ...?`` for an error message, or nothing where nothing is near."""
    found = difflib.get_close_matches(str(name), list(choices), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def default_transform(architecture: str, dataset: str | None) -> Transform:
    entry = ARCHITECTURES[architecture]
    return Transform(_SHORT_SIDE.get(dataset, DEFAULT_SHORT_SIDE), mean=entry.mean, std=entry.std)


def default_labels(dataset: str | None, num_classes: int) -> LabelSet:
    """The dataset's labels where they fit, else numbered classes in evenly spread colours."""
    if dataset is not None and len(LABEL_SETS[dataset].classes) == num_classes:
        return LABEL_SETS[dataset]
    return LabelSet(
        tuple(f"class {i}" for i in range(num_classes)),
        tuple(_spread_colour(i) for i in range(num_classes)),
        "your own data",
    )


def _spread_colour(index: int) -> tuple[int, int, int]:
    """The VOC colour map's next colour: the bits of the id dealt out to the three channels, highest first."""
    index += 1  # VOC's 0 is black, which a label image reads as nothing
    rgb = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            rgb[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return tuple(rgb)
