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

# Beginnings of names, srzoo's to theirs.
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
# A stem of three pairs of names, as in the semantic segmentation code of MIT CSAIL; others have timm's names.
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
    """Read a checkpoint of the authors' code and write it as a file of srzoo's, whole or not at all.

    Args:
        source: a PyTorch file, read without unpickling code, or a ``.safetensors`` file, of one of these:
            SRNet over ResNet-50 or 101, which becomes a file for `load_model` and `Segmenter`;
            an ImageNet ResNet-50 or 101 with a deep stem, which becomes one for ``pretrained_backbone=``;
            their block alone, which becomes the state dict of a `ReleasedSqueezeReasoning`.
        target: the ``.safetensors`` file; one that is there is replaced.
        dataset: whose classes SRNet's are; default the dataset with as many, or numbered classes.

    Returns:
        What the source is, in a few words.

    Raises:
        FileNotFoundError: no such file, or no folder for the target.
        IsADirectoryError: the target is a folder.
        ValueError: the source is none of these, or is damaged; the target is not a ``.safetensors`` file.
    """
    source, target = Path(source), Path(target)
    if dataset is not None and dataset not in DATASETS:
        known = ", ".join(DATASETS)
        raise ValueError(f"unknown dataset {dataset!r}{nearest(dataset, DATASETS)}; there are {known}")
    _check_target(source, target)
    state = read_state_dict(source)
    try:
        if any(key.startswith("layer0.") for key in state):
            return _convert_srnet(state, target, dataset)
        if dataset is not None:
            raise ValueError(f"it is no SRNet, whose classes dataset={dataset!r} would name")
        if "conv1.6.weight" in state or "conv3.weight" in state:
            return _convert_backbone(state, target)
        if "conv_adj.weight" in state:
            return _convert_block(state, target)
        raise ValueError(
            "it is neither SRNet as released (layer0.0.0.weight, ...) nor a ResNet with a deep stem "
            f"(conv1.0.weight, ...): its first tensor is {next(iter(state))}"
        )
    except ValueError as error:
        raise ValueError(f"cannot convert {source}: {error}") from error


def _check_target(source: Path, target: Path) -> None:
    if target.suffix != ".safetensors":
        better = target.parent / f"{target.stem or 'model'}.safetensors"
        raise ValueError(f"the output {target} must be a .safetensors file; name it {better}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no folder {target.parent} for the output; make it first")
    if target.is_dir():
        raise IsADirectoryError(f"the output {target} is a folder; name a file in it")
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"the output {target} is the input; give it another name")


def _convert_srnet(state: State, target: Path, dataset: str | None) -> str:
    depth, classes = _depth(state), _length(state, "head.final.4.weight", 19)
    if dataset is None:
        fitting = [name for name in DATASETS if _classes_of(name) == classes]
        dataset = fitting[0] if len(fitting) == 1 else None
    elif _classes_of(dataset) != classes:
        raise ValueError(f"it has {classes} classes, {dataset} has {_classes_of(dataset)}")
    name = f"srnet_r{depth}" + (f"_{dataset}" if dataset else "")
    with torch.device("meta"):
        model = create_model(name, num_classes=classes, **RELEASED)
    model.load_state_dict(_renamed(state, model.state_dict(), _SRNET, f"released SRNet R{depth}"), assign=True)
    save_model(model, target)
    return f"SRNet R{depth} as released, {classes} classes" + (f" of {dataset}" if dataset else "")


def _classes_of(dataset: str) -> int:
    return len(DATASETS[dataset].labels["semantic"].classes)


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
    return 101 if "layer3.6.conv1.weight" in state else 50  # the third stage has 23 blocks or 6


def _length(state: State, key: str, default: int) -> int:
    """The first side of a tensor; where it is missing the default, for the message about that."""
    return state[key].shape[:1].numel() if key in state else default


def _renamed(state: State, wanted: State, names: dict[str, str], what: str) -> State:
    """``state`` under the names and in the dtypes of ``wanted``, of which it must have all and no other."""
    theirs = {key: _their_name(key, names) for key in wanted}
    # PyTorch before 0.4.1 had no such counters, and nothing here reads them.
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
        raise ValueError(f"{name} is a meta tensor, of a shape alone; save the model with its values")
    if not value.isfinite().all():
        raise ValueError(f"{name} has values that are not finite")


def _their_name(key: str, names: dict[str, str]) -> str:
    for ours, theirs in names.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key
