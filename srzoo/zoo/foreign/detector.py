"""What a detector of another project is in srzoo's terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from ...labels import LabelSet
from ...labels.own import MAX_OUTPUTS, numbered_labels, own_labels
from ..datasets import DATASETS
from ..renaming import Rows, State, length, renamed

# Patterns of srzoo's names, and what of a name they are replaced with.
Table = Sequence[tuple[str, str | Callable[[re.Match], str]]]

TITLES = {"mask_rcnn": "Mask R-CNN", "cascade_mask_rcnn": "Cascade Mask R-CNN", "panoptic_fpn": "Panoptic FPN"}
# By the sides of the 3x3 convolution in the first block: plain, or with groups.
_WIDTHS = {
    (64, 64): "resnet{}",
    (128, 4): "resnext{}_32x4d",
    (256, 8): "resnext{}_32x8d",
    (256, 4): "resnext{}_64x4d",
}
_RESNEXTS = {"resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d"}
_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
_BASIC_DEPTHS = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 34}
_DEFAULTS = {"channels": 256, "box_channels": 1024, "mask_layers": (256,) * 4, "semantic_channels": 128}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of srzoo's input


@dataclass(frozen=True)
class ForeignDetector:
    """A state dict of another project.

    Attributes:
        project: its name.
        network: a key of `srzoo.models.NETWORKS`.
        backbone: the name of the backbone in timm.
        options: keyword arguments of the network's class, without the backbone.
        things, stuff: number of classes.
        names: of the classes, things first; None if the file does not say.
        coco: its classes are COCO's, if it has as many and does not name them.
        state: the tensors.
        their_name: from srzoo's name of a tensor to theirs.
        rows: of tensors that have their classes in another order, by the start of srzoo's name.
        finish: changes the renamed tensors in place, where the two compute differently with the same ones.
    """

    project: str
    network: str
    backbone: str
    options: dict = field(hash=False)
    things: int
    stuff: int
    names: tuple[str, ...] | None
    coco: bool
    state: State = field(hash=False, repr=False)
    their_name: Callable[[str], str]
    rows: dict[str, Rows] = field(hash=False, repr=False)
    finish: Callable[[State], None]

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"{TITLES[self.network]} of {self.project}, over {self.backbone}"

    @property
    def task(self) -> str:
        return "panoptic" if self.network == "panoptic_fpn" else "instance"

    def converted(self, wanted: State) -> State:
        """The tensors with srzoo's names.

        Args:
            wanted: the state dict of the network, of which only names, shapes and dtypes are used.

        Raises:
            ValueError: a missing or unexpected tensor, another shape, or values that are not finite.
        """
        result = renamed(self.state, wanted, self.their_name, self.title, self.rows)
        self.finish(result)
        return result

    def labels(self, dataset: str | None) -> tuple[LabelSet, str | None]:
        """The labels of its classes, and the dataset that they are of, if it is known.

        Args:
            dataset: name of the dataset; default the one with these names, else the classes are numbered.

        Raises:
            ValueError: the dataset has other numbers of classes, or a name in the file is none or there twice.
        """
        known = {name: data.labels[self.task] for name, data in DATASETS.items() if self.task in data.labels}
        if dataset is not None:
            self._check_dataset(dataset, known.get(dataset))
            return known[dataset], dataset
        if self.names is not None:
            same = next((name for name, labels in known.items() if labels.classes == self.names), None)
            if same:
                return known[same], same
            labels = own_labels(self.names, "the names of classes in the file", 1, MAX_OUTPUTS)
            return replace(labels, things=self._things), None
        if self.coco and _counts(known["coco"], self.task) == (self.things, self.stuff):
            return known["coco"], "coco"
        return replace(numbered_labels(self.things + self.stuff), things=self._things), None

    @property
    def _things(self) -> tuple[bool, ...] | None:
        return (True,) * self.things + (False,) * self.stuff if self.task == "panoptic" else None

    def _check_dataset(self, dataset: str, labels: LabelSet | None) -> None:
        own = (self.things, self.stuff)
        found = None if labels is None else _counts(labels, self.task)
        if found != own:
            classes = "{} things and {} stuff" if self.task == "panoptic" else "{} classes"
            other = "none" if found is None else classes.format(*found)
            raise ValueError(
                f"it has {classes.format(*own)} for the task {self.task!r}, but {dataset} has {other}; "
                "choose another dataset, or leave it out for numbered classes"
            )


def _counts(labels: LabelSet, task: str) -> tuple[int, int]:
    if task != "panoptic":
        return len(labels.classes), 0
    return sum(labels.things), len(labels.classes) - sum(labels.things)


def replaced(table: Table) -> Callable[[str], str]:
    """A function that replaces the first pattern of a table that fits the start of a name."""
    patterns = [(re.compile(pattern), replacement) for pattern, replacement in table]

    def their_name(key: str) -> str:
        for pattern, replacement in patterns:
            if pattern.match(key):
                return pattern.sub(replacement, key, count=1)
        return key

    return their_name


def backbone_name(state: State, their_name: Callable[[str], str]) -> str:
    """The name in timm of the ResNet or ResNeXt in a state dict.

    Raises:
        ValueError: it is another network.
    """
    counts = tuple(_blocks(state, their_name, stage) for stage in range(1, 5))
    bottlenecks = any(key.startswith(their_name("backbone.body.layer1.0.conv3.")) for key in state)
    depth = (_DEPTHS if bottlenecks else _BASIC_DEPTHS).get(counts)
    middle = state.get(their_name("backbone.body.layer1.0.conv2.weight"))
    sides = (64, 64) if middle is None else tuple(middle.shape[:2])  # if it is missing, that is reported later
    name = _WIDTHS.get(sides, "").format(depth)
    if depth is None or not (sides == (64, 64) or name in _RESNEXTS):
        raise ValueError(
            f"its backbone has stages of {', '.join(map(str, counts))} blocks, the first 3x3 convolution of {sides}; "
            "expected a ResNet-18, 34, 50, 101 or 152, or a ResNeXt 32x4d, 32x8d or 64x4d"
        )
    return name


def _blocks(state: State, their_name: Callable[[str], str], stage: int) -> int:
    count = 0
    while any(key.startswith(_block_prefix(their_name, stage, count)) for key in state):
        count += 1
    return count


def _block_prefix(their_name: Callable[[str], str], stage: int, index: int) -> str:
    return their_name(f"backbone.body.layer{stage}.{index}.conv1.").removesuffix("conv1.")


def sizes(state: State, their_name: Callable[[str], str], network: str) -> dict:
    """Options of the network for widths that differ from its defaults."""
    stage = "0." if network == "cascade_mask_rcnn" else ""

    def side(key: str, option: str) -> int:
        return length(state, their_name(key), _DEFAULTS[option])

    widths = []
    while (key := their_name(f"roi_heads.mask_head.{stage}{len(widths)}.0.weight")) in state:
        widths.append(length(state, key, 0))
    found = {
        "channels": side("backbone.fpn.layer_blocks.0.0.weight", "channels"),
        "box_channels": side(f"roi_heads.box_head.{stage}fc6.weight", "box_channels"),
        "mask_layers": tuple(widths) or _DEFAULTS["mask_layers"],
    }
    if network == "panoptic_fpn":
        found["semantic_channels"] = side("semantic_head.levels.0.0.0.weight", "semantic_channels")
    return {key: value for key, value in found.items() if value != _DEFAULTS[key]}


def further_layers(state: State, their_name: Callable[[str], str]) -> dict:
    """Options for norms in the pyramid and heads, and for further convolutions, as in torchvision's version 2."""
    options: dict = {}
    if their_name("backbone.fpn.inner_blocks.0.1.weight") in state:
        options["norm"] = True
    rpn_convs = sum(their_name(f"rpn.head.conv.{i}.0.weight") in state for i in range(10))
    if rpn_convs > 1:
        options["rpn_convs"] = rpn_convs
    widths = []
    while (key := their_name(f"roi_heads.box_head.{len(widths)}.0.weight")) in state:
        widths.append(length(state, key, 0))
    if widths:
        options["box_layers"] = tuple(widths)
        # Behind the convolutions, the flattening counts as a layer.
        width = length(state, their_name(f"roi_heads.box_head.{len(widths) + 1}.weight"), _DEFAULTS["box_channels"])
        if width != _DEFAULTS["box_channels"]:
            options["box_channels"] = width
    return options


def class_rows(things: int, last: bool, stages: int = 1, masks: int = 1) -> dict[str, Rows]:
    """The rows of the predictors of the heads on regions.

    Args:
        things: number of classes.
        last: their background is the last class, and only the classifier has it. Else it is the first everywhere, as
            srzoo's.
        stages, masks: number of box and of mask predictors.
    """
    if not last:
        return {}
    classes = tuple(range(things))
    rows = {}
    for prefix in ("",) if stages == 1 else tuple(f"{stage}." for stage in range(stages)):
        rows[f"roi_heads.box_predictor.{prefix}cls_score."] = Rows((things, *classes), things + 1)
        if stages == 1:
            rows[f"roi_heads.box_predictor.{prefix}bbox_pred."] = Rows((-1, *classes), things).blocks(4)
    for prefix in ("",) if stages == 1 else tuple(f"{stage}." for stage in range(masks)):
        # The background's mask is never read. Its bias says "nowhere".
        rows[f"roi_heads.mask_predictor.{prefix}mask_fcn_logits."] = Rows((-1, *classes), things, bias=-10.0)
    return rows


def fold_stem(state: State, reverse: bool, mean: Sequence[float], std: Sequence[float]) -> None:
    """Change the first convolution to one for srzoo's input, RGB with ImageNet's statistics, in place.

    It is exact at borders too, as zero padding follows the normalization in both.

    Args:
        state: with srzoo's names.
        reverse: their channels are in the order BGR.
        mean, std: their statistics for values of 0 to 255, in their order.

    Raises:
        ValueError: another mean, for which there is no such convolution.
    """
    order = slice(None, None, -1 if reverse else 1)
    mean, std = list(mean)[order], list(std)[order]
    if len(mean) != 3 or len(std) != 3 or max(abs(m - 255 * own) for m, own in zip(mean, _MEAN)) > 0.05:
        raise ValueError(f"its input has the mean {mean} in RGB; expected ImageNet's, 123.675, 116.28, 103.53")
    weight = state["backbone.body.conv1.weight"].double()
    factors = torch.tensor([255 * own / s for own, s in zip(_STD, std)], dtype=torch.float64)
    weight = (weight.flip(1) if reverse else weight) * factors[:, None, None]
    state["backbone.body.conv1.weight"] = weight.to(state["backbone.body.conv1.weight"].dtype)
