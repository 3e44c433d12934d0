"""Convert the authors' files to srzoo's: SRNet, the ResNets with a deep stem that it starts from, their block alone."""

from __future__ import annotations

from pathlib import Path

import timm
import torch

from ..layers import ReleasedSqueezeReasoning
from ..messages import nearest
from ..state_dicts import misfit, read_state_dict, write_state_dict
from .datasets import DATASETS
from .factory import create_model, save_model

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


State = dict[str, torch.Tensor]


def convert(source: str | Path, target: str | Path, dataset: str | None = None) -> str:
    """Convert a checkpoint of the authors' code to one of srzoo's files, written atomically.

    Args:
        source: a ``.safetensors`` file, or a PyTorch file, which is read without executing code. It contains one of:

            * SRNet with ResNet-50 or 101; the target is a file for `load_model` and `Segmenter`.
            * An ImageNet ResNet-50 or 101 with a deep stem; the target is a file for ``pretrained_backbone=``.
            * The authors' block alone; the target is the state dict of a `ReleasedSqueezeReasoning`.
        target: the ``.safetensors`` file. An existing file is replaced.
        dataset: the dataset of SRNet's classes; default the only one with this number of classes, else the classes are
            numbered.

    Returns:
        What the source contains, in a few words.

    Raises:
        FileNotFoundError: no such file, or no folder for the target.
        IsADirectoryError: the target is a folder.
        ValueError: the source contains none of these or is damaged; the target is not a ``.safetensors`` file, or is
            the source; an unknown dataset, or one with another number of classes.
    """
    source, target = Path(source), Path(target)
    if dataset is not None and dataset not in _CLASSES:
        known = ", ".join(_CLASSES)
        raise ValueError(f"unknown dataset {dataset!r}{nearest(dataset, _CLASSES)}; there are {known}")
    _check_target(source, target)
    state = read_state_dict(source)
    try:
        if any(key.startswith("layer0.") for key in state):
            return _convert_srnet(state, target, dataset)
        if dataset is not None:
            raise ValueError(f"it is not an SRNet, so dataset={dataset!r} does not apply; leave it out")
        if "conv1.6.weight" in state or "conv3.weight" in state:
            return _convert_backbone(state, target)
        if "conv_adj.weight" in state:
            return _convert_block(state, target)
        raise ValueError(
            "it is neither the released SRNet (layer0.0.0.weight, ...), nor a ResNet with a deep stem "
            f"(conv1.0.weight, ...), nor the block (conv_adj.weight, ...): its first tensor is {next(iter(state))}"
        )
    except ValueError as error:
        raise ValueError(f"cannot convert {source}: {error}") from error


def _check_target(source: Path, target: Path) -> None:
    if target.suffix != ".safetensors":
        better = target.parent / f"{target.stem or 'model'}.safetensors"
        raise ValueError(f"the output {target} must be a .safetensors file; name it {better}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no folder {target.parent} for the output; create it first")
    if target.is_dir():
        raise IsADirectoryError(f"the output {target} is a folder; give the path of a file in it")
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"the output {target} is the input; choose another name")


def _convert_srnet(state: State, target: Path, dataset: str | None) -> str:
    depth, classes = _depth(state), _length(state, "head.final.4.weight", 19)
    if dataset is None:
        fitting = [name for name, number in _CLASSES.items() if number == classes]
        dataset = fitting[0] if len(fitting) == 1 else None
    elif _CLASSES[dataset] != classes:
        raise ValueError(f"it has {classes} classes, but {dataset} has {_CLASSES[dataset]}")
    name = f"srnet_r{depth}" + (f"_{dataset}" if dataset else "")
    with torch.device("meta"):
        model = create_model(name, num_classes=classes, **RELEASED)
    model.load_state_dict(_renamed(state, model.state_dict(), _SRNET, f"released SRNet R{depth}"), assign=True)
    save_model(model, target)
    return f"SRNet R{depth} as released, {classes} classes" + (f" of {dataset}" if dataset else "")


def _convert_backbone(state: State, target: Path) -> str:
    depth = _depth(state)
    with torch.device("meta"):
        wanted = timm.create_model(f"resnet{depth}s").state_dict()
    if "fc.weight" not in state:
        wanted = {key: value for key, value in wanted.items() if not key.startswith("fc.")}
    names = _FLAT_STEM if "conv3.weight" in state else {}
    write_state_dict(_renamed(state, wanted, names, f"ResNet-{depth} with a deep stem"), target)
    return f"ResNet-{depth} with a deep stem, for pretrained_backbone="


def _convert_block(state: State, target: Path) -> str:
    channels, nodes = _length(state, "gn.weight", 512), _length(state, "conv_adj.weight", 32)
    with torch.device("meta"):
        wanted = ReleasedSqueezeReasoning(channels, nodes).state_dict()
    write_state_dict(_renamed(state, wanted, _BLOCK, "released block"), target)
    return f"the released block, ReleasedSqueezeReasoning({channels}, nodes={nodes})"


def _depth(state: State) -> int:
    """Layers of the ResNet, 50 or 101."""
    return 101 if "layer3.6.conv1.weight" in state else 50  # the third stage has 6 or 23 blocks


def _length(state: State, key: str, default: int) -> int:
    """The first side of a tensor. If the tensor is missing, the default; `misfit` then reports it."""
    return state[key].shape[:1].numel() if key in state else default


def _renamed(state: State, wanted: State, names: dict[str, str], what: str) -> State:
    """Rename ``state`` to the names of ``wanted``, and cast it to its dtypes.

    Args:
        state: the authors' state dict.
        wanted: srzoo's state dict, of which only names, shapes and dtypes are used.
        names: prefixes, from srzoo's to theirs.
        what: what the state dict should be, for the message.

    Raises:
        ValueError: a missing or unexpected tensor, another shape, or values that are not finite.
    """
    theirs = {key: _their_name(key, names) for key in wanted}
    # PyTorch before 0.4.1 had no such counters. They are not used here.
    counters = {name: torch.zeros(()) for name in theirs.values() if name.endswith("num_batches_tracked")}
    state = {**counters, **state}
    if problem := misfit(state, {theirs[key]: value for key, value in wanted.items()}):
        raise ValueError(f"as a {what} it {problem}")
    for key, value in wanted.items():
        if value.is_floating_point():
            _check_numbers(theirs[key], state[theirs[key]])
    return {key: state[theirs[key]].to(value.dtype, copy=True) for key, value in wanted.items()}


def _check_numbers(name: str, value: torch.Tensor) -> None:
    if value.layout != torch.strided or not value.is_floating_point():
        raise ValueError(f"{name} is a {value.layout} tensor of {value.dtype}; expected dense floating point")
    if value.is_meta:
        raise ValueError(f"{name} is a meta tensor, which has no values; save the model on a CPU or GPU")
    if not value.isfinite().all():
        raise ValueError(f"{name} has values that are not finite")


def _their_name(key: str, names: dict[str, str]) -> str:
    for ours, theirs in names.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key
