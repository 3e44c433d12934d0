"""Convert the authors' files to srzoo's: SRNet, the ResNets with a deep stem that it starts from, their block alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import timm
import torch

from ..layers import ReleasedSqueezeReasoning
from ..state_dicts import write_state_dict
from .datasets import DATASETS
from .factory import create_model, save_model
from .renaming import State, length, renamed

# The released SRNet as options of `SRNet`.
RELEASED = {"context": "sr_released", "multi_grid": (1, 1, 1), "align_corners": True, "released_head": True}

# How many classes SRNet has for each dataset that it can be for.
_CLASSES = {name: len(data.labels["semantic"].classes) for name, data in DATASETS.items() if "semantic" in data.labels}
# Prefixes of names, from srzoo's to theirs.
_BLOCK = {
    "transform.": "t.",
    "left.": "p.",
    "right.": "g.",
    "adjacency.": "conv_adj.",
    "adjacency_norm.": "bn_adj.",
    "weight.": "conv_wg.",
    "weight_norm.": "bn_wg.",
    "project.": "z.",
    "norm.": "gn.",
}
_SRNET = {
    "backbone.body.conv1.": "layer0.0.",
    "backbone.body.bn1.": "layer0.1.",
    "backbone.body.": "",
    "head.reduce.": "head.in_module.",
    **{f"head.context.{ours}": f"head.module.{theirs}" for ours, theirs in _BLOCK.items()},
    "head.fuse.conv.": "head.final.0.",
    "head.fuse.bn.": "head.final.1.",
    "classifier.": "head.final.4.",
    "aux_head.fuse.conv.": "aux_layer.aux.0.",
    "aux_head.fuse.bn.": "aux_layer.aux.1.",
    "aux_head.classifier.": "aux_layer.aux.4.",
}
# The stem's names in MIT CSAIL's semantic segmentation code: conv1, bn1, conv2, ... Other files have timm's names.
_FLAT_STEM = {
    "conv1.0.": "conv1.",
    "conv1.1.": "bn1.",
    "conv1.3.": "conv2.",
    "conv1.4.": "bn2.",
    "conv1.6.": "conv3.",
    "bn1.": "bn3.",
}


def convert_released(state: State, target: Path, dataset: str | None) -> str:
    """Convert a state dict of the authors' code, see `srzoo.zoo.conversion.convert`.

    Raises:
        ValueError: it contains none of their networks, or ``dataset`` does not apply.
    """
    if any(key.startswith("layer0.") for key in state):
        return _convert_srnet(state, target, dataset)
    if dataset is not None:
        raise ValueError(f"it is neither an SRNet nor a detector, so dataset={dataset!r} does not apply; leave it out")
    if "conv1.6.weight" in state or "conv3.weight" in state:
        return _convert_backbone(state, target)
    if "conv_adj.weight" in state:
        return _convert_block(state, target)
    raise ValueError(
        "it is neither the released SRNet (layer0.0.0.weight, ...), nor a ResNet with a deep stem "
        "(conv1.0.weight, ...), nor the block (conv_adj.weight, ...), nor a detector of torchvision (rpn.head...), "
        "mmdetection (neck.lateral_convs...) or detectron2 (backbone.bottom_up...): its first tensor is "
        f"{next(iter(state))}"
    )


def _convert_srnet(state: State, target: Path, dataset: str | None) -> str:
    # At least the 2 that a model has; the comparison of shapes names a tensor with fewer.
    depth, classes = _depth(state), max(2, length(state, "head.final.4.weight", 19))
    if dataset is None:
        fitting = [name for name, number in _CLASSES.items() if number == classes]
        dataset = fitting[0] if len(fitting) == 1 else None
    elif _CLASSES.get(dataset) != classes:
        raise ValueError(f"it has {classes} classes, but {dataset} has {_CLASSES.get(dataset, 'none of this task')}")
    name = f"srnet_r{depth}" + (f"_{dataset}" if dataset else "")
    with torch.device("meta"):
        model = create_model(name, num_classes=classes, **RELEASED)
    model.load_state_dict(renamed(state, model.state_dict(), _theirs(_SRNET), f"released SRNet R{depth}"), assign=True)
    save_model(model, target)
    return f"SRNet R{depth} as released, {classes} classes" + (f" of {dataset}" if dataset else "")


def _convert_backbone(state: State, target: Path) -> str:
    depth = _depth(state)
    with torch.device("meta"):
        wanted = timm.create_model(f"resnet{depth}s").state_dict()
    if "fc.weight" not in state:
        wanted = {key: value for key, value in wanted.items() if not key.startswith("fc.")}
    names = _FLAT_STEM if "conv3.weight" in state else {}
    write_state_dict(renamed(state, wanted, _theirs(names), f"ResNet-{depth} with a deep stem"), target)
    return f"ResNet-{depth} with a deep stem, for pretrained_backbone="


def _convert_block(state: State, target: Path) -> str:
    channels, nodes = length(state, "gn.weight", 512), length(state, "conv_adj.weight", 32)
    with torch.device("meta"):
        wanted = ReleasedSqueezeReasoning(channels, nodes).state_dict()
    write_state_dict(renamed(state, wanted, _theirs(_BLOCK), "released block"), target)
    return f"the released block, ReleasedSqueezeReasoning({channels}, nodes={nodes})"


def _depth(state: State) -> int:
    """Layers of the ResNet, 50 or 101."""
    return 101 if "layer3.6.conv1.weight" in state else 50  # the third stage has 6 or 23 blocks


def _theirs(names: dict[str, str]) -> Callable[[str], str]:
    """A function from srzoo's name of a tensor to theirs."""

    def their_name(key: str) -> str:
        for ours, theirs in names.items():
            if key.startswith(ours):
                return theirs + key.removeprefix(ours)
        return key

    return their_name
