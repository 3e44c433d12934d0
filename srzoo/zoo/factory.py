"""Names to models."""

from __future__ import annotations

import dataclasses
import inspect
import math
import warnings
from pathlib import Path

import torch
from torch import nn

from ..backbones import normalisation, probe
from ..backbones.imagenet import load_imagenet_weights
from ..labels.own import numbered_labels
from ..layers import CONTEXT_MODULES
from ..layers.checks import check_whole
from ..models import FAMILIES
from ..state_dicts import misfit
from . import registry
from .config import ModelConfig
from .datasets import DATASETS, labels_for
from .published import PUBLISHED, read_published
from .weights import is_model_file, read_model_file, write_model_file


def create_model(
    name: str,
    pretrained: bool = False,
    num_classes: int | None = None,
    context: str | None = None,
    pretrained_backbone: bool | str | Path = False,
    **options,
) -> nn.Module:
    """Build a model by its name.

    Args:
        name: ``<architecture>`` or ``<architecture>_<dataset>``, see `list_models`; or "srnet" with ``backbone=``
            any timm backbone that has ``features_only``.
        pretrained: load the published weights of this name.
        num_classes: default the dataset's. With ``pretrained`` and another number the classifiers start anew.
        context: a key of `srzoo.layers.CONTEXT_MODULES`, or "none" for the same model without the block; default the
            architecture's own, which is "sr" for SRNet and "psp" for DFSeg. FCN has no place for one.
        pretrained_backbone: start the backbone from ImageNet: True, or the path of a file in timm's names. Ignored
            nowhere: with ``pretrained`` it is an error, as those weights have a backbone of their own.
        **options: of the architecture's class in `srzoo.models`, e.g. ``output_stride=16`` or ``nodes=32``.

    Returns:
        The model in training mode, with its `ModelConfig` as ``model.config``.

    Raises:
        ValueError: unknown name or option, no published weights, or weights that do not fit the options.
        RuntimeError: ImageNet weights that cannot be reached.
    """
    architecture, dataset = registry.split_name(name)
    if num_classes is not None:
        check_whole(num_classes=num_classes)
    if not isinstance(pretrained, bool):
        raise ValueError(f"pretrained must be True or False, got {pretrained!r}; srzoo.load_model reads a file")
    if not isinstance(pretrained_backbone, (bool, str, Path, type(None))):
        raise ValueError(f"pretrained_backbone must be True or a file's path, got {pretrained_backbone!r}")
    if context is not None:
        options["context"] = context
    if pretrained:
        if pretrained_backbone:
            raise ValueError("pretrained=True brings its own backbone weights; leave pretrained_backbone out")
        return _create_pretrained(name, num_classes, options)
    if num_classes is None:
        if dataset is None:
            raise ValueError(f"{name!r} names no dataset: pass num_classes, or use a name such as {name + '_camvid'!r}")
        num_classes = len(DATASETS[dataset].labels["semantic"].classes)
    entry = registry.ARCHITECTURES[architecture]
    options = {**entry.options, **options}
    if options.get("backbone") is None:
        raise ValueError(
            f"{name!r} needs a backbone, e.g. create_model('srnet', backbone='convnext_tiny', num_classes=7)"
        )
    if not isinstance(options["backbone"], str):
        raise ValueError(f"backbone must be a name that timm knows, got {type(options['backbone']).__name__}")
    if not entry.has_backbone:
        backbone_options, divisor = probe(options["backbone"], options.pop("output_stride", None))
        options = {"backbone_options": backbone_options, "size_divisor": divisor, **options}
    labels = labels_for(dataset, "semantic", num_classes)
    transform = registry.default_transform(architecture, dataset)
    if options["backbone"] != entry.options.get("backbone"):
        mean, std = normalisation(options["backbone"])
        transform = dataclasses.replace(transform, mean=mean, std=std)
    model = _build(ModelConfig(name, options, labels.classes, labels.palette, transform, entry.family))
    if pretrained_backbone:
        load_imagenet_weights(model.backbone, options["backbone"], pretrained_backbone)
    return model


def load_model(path: str | Path) -> nn.Module:
    """Build the model in a file that `save_model` wrote: fine-tuned, converted or shipped.

    Returns:
        The model in training mode, with its `ModelConfig` as ``model.config``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a file of ours, or its tensors do not fit its configuration.
    """
    return _with_weights(*read_model_file(path), str(path))


def save_model(model: nn.Module, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write a model of ours with its configuration; the file appears whole or not at all.

    Args:
        model: made by `create_model` or `load_model`.
        path: the ``.safetensors`` file.
        dtype: storage type of the floating tensors, e.g. ``torch.float16``; default their own, which a tensor keeps
            too where ``dtype`` overflows.

    Raises:
        ValueError: the model is another one, in a wrapper, or no longer what its configuration builds: `load_model`
            could not read the file.
        OSError: the file cannot be written.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper, which puts this before every tensor's name
    if not isinstance(getattr(model, "config", None), ModelConfig):
        raise ValueError(
            f"save_model writes what create_model and load_model make, got {type(model).__name__}; "
            "unwrap it, or write its state dict with safetensors"
        )
    state = model.state_dict()
    with torch.device("meta"):
        wanted = _build(model.config).state_dict()
    if problem := misfit(state, wanted):
        raise ValueError(
            f"load_model could not read this {model.config.name} back, as it {problem}; save the model from before "
            "fuse, insert or a change of its layers, or write its state dict with safetensors"
        )
    if dtype is not None:
        state = {key: _narrowed(value, dtype) for key, value in state.items()}
    write_model_file(model.config, state, path)


def _narrowed(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``value`` in ``dtype``, if it is floating and fits: a BatchNorm's variances may be beyond float16's 65504."""
    if not value.is_floating_point():
        return value
    narrow = value.to(dtype)
    return narrow if torch.equal(narrow.isfinite(), value.isfinite()) else value


def trained_model(source: str | Path, num_classes: int | None = None, **options) -> nn.Module:
    """What the command line and a recipe mean by a trained model: a name with published weights, or a file of ours.

    A text is a file's path where it ends in ``.safetensors``. ``num_classes`` and ``options`` are those of
    `create_model`. Errors are those of `create_model` and `load_model`.
    """
    if isinstance(source, Path) or is_model_file(source):
        return _with_weights(*read_model_file(source), str(source), num_classes, options)
    if Path(source).exists() and source not in registry.names():
        raise ValueError(
            f"{source} is no .safetensors file: a run's model is the model.safetensors in its folder, and "
            "`srzoo convert` makes one of the authors' checkpoints"
        )
    return create_model(source, pretrained=True, num_classes=num_classes, **options)


def _create_pretrained(name: str, num_classes: int | None, options: dict) -> nn.Module:
    if name not in PUBLISHED:
        raise ValueError(
            f"no published weights for {name!r}; there are some for: {', '.join(sorted(PUBLISHED))}. "
            f"To train it: srzoo train --model {name} --data.root PATH"
        )
    return _with_weights(*read_published(PUBLISHED[name]), name, num_classes, options)


def _with_weights(
    config: ModelConfig, state: dict, origin: str, num_classes: int | None = None, options: dict | None = None
) -> nn.Module:
    """The model of a file, with these options in place of its own; for another number of classes, classifiers anew."""
    own = len(config.classes)
    config = dataclasses.replace(config, options={**config.options, **(options or {})})
    if num_classes not in (None, own):
        labels = numbered_labels(num_classes)
        config = dataclasses.replace(config, classes=labels.classes, palette=labels.palette)
        heads = [key for key in state if ".classifier." in f".{key}"]
        state = {key: value for key, value in state.items() if key not in heads}
        said = f"{origin}: {num_classes} classes instead of {own}, so {', '.join(heads)} start anew"
        warnings.warn(said, stacklevel=4)
        model = _build(config)
        fresh = model.state_dict()
        state.update({key: fresh[key] for key in heads})
    else:
        model = _build(config)
    _load(model, state, origin)
    return model


def _build(config: ModelConfig) -> nn.Module:
    if config.family not in FAMILIES:
        raise ValueError(f"unknown family {config.family!r} of {config.name!r}; this version has {', '.join(FAMILIES)}")
    _refuse_unknown_options(config)
    try:
        model = FAMILIES[config.family](num_classes=len(config.classes), **config.options)
    except TypeError as error:
        raise ValueError(f"{config.name!r} does not take these options: {error}") from error
    multiple = math.lcm(model.output_stride, model.size_divisor)
    model.config = dataclasses.replace(config, transform=dataclasses.replace(config.transform, multiple=multiple))
    return model


def _refuse_unknown_options(config: ModelConfig) -> None:
    """Name an option that neither the family nor the context module has; Python's own error would name a class."""
    context = config.options.get("context", "sr")
    module = CONTEXT_MODULES.get(context) if isinstance(context, str) else None
    if module is None:  # none, whose error names its options, or an unknown one
        return
    taken = [*inspect.signature(FAMILIES[config.family]).parameters, *inspect.signature(module).parameters]
    own = {"num_classes", "context_options", "out_channels"}  # create_model's, and what stands for the others
    known = sorted(set(taken) - own)
    unknown = [option for option in config.options if option not in known]
    if unknown:
        raise ValueError(f"{config.name!r} has no option {unknown[0]!r}; it takes {', '.join(known)}")


def _load(model: nn.Module, state: dict, origin: str) -> None:
    """Strict loading with a message of one line."""
    if problem := misfit(state, model.state_dict()):
        raise ValueError(f"the weights of {origin} do not fit this model: the file {problem}")
    model.load_state_dict(state)
