"""Names to models."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from pathlib import Path

import torch
from torch import nn

from ..backbones import normalization, probe
from ..backbones.imagenet import load_imagenet_weights
from ..labels import LabelSet
from ..labels.own import numbered_labels
from ..layers import CONTEXT_MODULES
from ..layers.checks import check_whole
from ..models import NETWORKS, ZooModel
from ..models.base import check_zoo_model
from ..state_dicts import misfit
from . import registry
from .config import ModelConfig
from .datasets import DATASETS, labels_for
from .published import PUBLISHED, read_published
from .transform import Transform
from .weights import is_model_file, read_model_file, write_model_file


def create_model(
    name: str,
    pretrained: bool = False,
    num_classes: int | None = None,
    context: str | None = None,
    pretrained_backbone: bool | str | Path = False,
    **options,
) -> ZooModel:
    """Build a model by its name.

    Args:
        name: ``<architecture>`` or ``<architecture>_<dataset>``, see `list_models`; or "srnet" with ``backbone=``
            any timm backbone that has ``features_only``.
        pretrained: load the published weights of this name.
        num_classes: default the dataset's. With ``pretrained`` and another number the classifiers start anew.
        context: a key of `srzoo.layers.CONTEXT_MODULES`, or "none" for the same model without the block; default the
            architecture's own, which is "sr" for SRNet and "psp" for DFSeg. FCN has no place for one.
        pretrained_backbone: start the backbone from ImageNet: True, or the path of a file in timm's names. Cannot be
            combined with ``pretrained``, whose weights include the backbone's.
        **options: of the architecture's class in `srzoo.models`, e.g. ``output_stride=16`` or ``nodes=32``.

    Returns:
        The model in training mode, with its `ModelConfig` as ``model.config``.

    Raises:
        ValueError: unknown name or option, no published weights, or weights that do not fit the options.
        RuntimeError: ImageNet weights that cannot be reached.
    """
    architecture, dataset = registry.split_name(name)
    _check_start(num_classes, pretrained, pretrained_backbone)
    if context is not None:
        options["context"] = context
    if pretrained:
        return _create_pretrained(name, num_classes, options)
    entry = registry.ARCHITECTURES[architecture]
    labels = _labels_for(name, entry, dataset, num_classes)
    options = _options_for(name, entry, options)
    transform = _transform_for(architecture, dataset, options["backbone"])
    model = _build(ModelConfig(name, entry.network, entry.task, options, labels, transform))
    if pretrained_backbone:
        load_imagenet_weights(model.backbone, options["backbone"], pretrained_backbone)
    return model


def _check_start(num_classes: int | None, pretrained: bool, pretrained_backbone: bool | str | Path) -> None:
    if num_classes is not None:
        check_whole(num_classes=num_classes)
    if not isinstance(pretrained, bool):
        raise ValueError(f"pretrained must be True or False, got {pretrained!r}; srzoo.load_model reads a file")
    if not isinstance(pretrained_backbone, (bool, str, Path, type(None))):
        raise ValueError(f"pretrained_backbone must be True or a file's path, got {pretrained_backbone!r}")
    if pretrained and pretrained_backbone:
        raise ValueError("pretrained=True brings its own backbone weights; leave pretrained_backbone out")


def _labels_for(name: str, entry: registry.Architecture, dataset: str | None, num_classes: int | None) -> LabelSet:
    """The classes to tell apart: the dataset's, or so many."""
    if num_classes is not None:
        return labels_for(dataset, entry.task, num_classes)
    if dataset is None:
        instead = f", or use a name such as '{name}_{entry.datasets[0]}'" if entry.datasets else ""
        raise ValueError(f"{name!r} names no dataset: pass num_classes{instead}")
    return DATASETS[dataset].labels[entry.task]


def _options_for(name: str, entry: registry.Architecture, options: dict) -> dict:
    """Keyword arguments of the network's class: the entry's, and in their place those that were asked for."""
    options = {**entry.options, **options}
    backbone = options.get("backbone")
    if backbone is None:
        raise ValueError(
            f"{name!r} needs a backbone, e.g. create_model('srnet', backbone='convnext_tiny', num_classes=7)"
        )
    if not isinstance(backbone, str):
        raise ValueError(f"backbone must be a name that timm knows, got {type(backbone).__name__}")
    if entry.has_backbone:
        return options
    backbone_options, divisor = probe(backbone, options.pop("output_stride", None))
    return {"backbone_options": backbone_options, "size_divisor": divisor, **options}


def _transform_for(architecture: str, dataset: str | None, backbone: str) -> Transform:
    """The entry's transform, normalized as the weights of this backbone expect it."""
    transform = registry.default_transform(architecture, dataset)
    if backbone == registry.ARCHITECTURES[architecture].options.get("backbone"):
        return transform
    mean, std = normalization(backbone)
    return dataclasses.replace(transform, mean=mean, std=std)


def load_model(path: str | Path) -> ZooModel:
    """Build the model in a file that `save_model` wrote: fine-tuned, converted or shipped.

    Returns:
        The model in training mode, with its `ModelConfig` as ``model.config``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not one of srzoo's files, or its tensors do not fit its configuration.
    """
    return _with_weights(*read_model_file(path), str(path))


def save_model(model: nn.Module, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write one of srzoo's models with its configuration; the file appears whole or not at all.

    Args:
        model: made by `create_model` or `load_model`.
        path: the ``.safetensors`` file.
        dtype: storage type of the floating tensors, e.g. ``torch.float16``; default their own, which a tensor keeps
            too where ``dtype`` overflows.

    Raises:
        ValueError: the model is not srzoo's, is in a wrapper, or is no longer what its configuration builds, so that
            `load_model` could not read the file.
        OSError: the file cannot be written.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper, which puts this before every tensor's name
    check_zoo_model(model, "save_model")
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


def trained_model(source: str | Path, num_classes: int | None = None, **options) -> ZooModel:
    """What the command line and a recipe mean by a trained model: a name with published weights, or a model's file.

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


def _create_pretrained(name: str, num_classes: int | None, options: dict) -> ZooModel:
    if name not in PUBLISHED:
        raise ValueError(
            f"no published weights for {name!r}; there are some for: {', '.join(sorted(PUBLISHED))}. "
            f"To train it: srzoo train --model {name} --data.root PATH"
        )
    return _with_weights(*read_published(PUBLISHED[name]), name, num_classes, options)


def _with_weights(
    config: ModelConfig, state: dict, origin: str, num_classes: int | None = None, options: dict | None = None
) -> ZooModel:
    """The model of a file, with these options in place of its own; for another number of classes, classifiers anew."""
    own = len(config.classes)
    config = dataclasses.replace(config, options={**config.options, **(options or {})})
    if num_classes in (None, own):
        model = _build(config)
    else:
        model = _build(dataclasses.replace(config, labels=numbered_labels(num_classes)))
        fresh = _of_another_shape(model.state_dict(), config)
        said = f"{origin}: {num_classes} classes instead of {own}, so {', '.join(sorted(fresh))} start anew"
        warnings.warn(said, stacklevel=4)
        state = {**state, **{key: value for key, value in fresh.items() if key in state}}
    _load(model, state, origin)
    return model


def _of_another_shape(state: dict, config: ModelConfig) -> dict:
    """Those of a state dict's tensors that differ in shape from what this configuration builds."""
    with torch.device("meta"):
        built = _build(config).state_dict()
    return {key: value for key, value in state.items() if key in built and built[key].shape != value.shape}


def _build(config: ModelConfig) -> ZooModel:
    """The network of a configuration, with random weights."""
    network = NETWORKS.get(config.network)
    if network is None:
        known = ", ".join(NETWORKS)
        raise ValueError(f"unknown network {config.network!r} of {config.name!r}; this version has {known}")
    if config.task != network.task:
        raise ValueError(
            f"{config.name!r} is said to be for the task {config.task!r}; its network {config.network!r} is for "
            f"{network.task!r}"
        )
    _refuse_unknown_options(config)
    try:
        model = network(num_classes=len(config.classes), **config.options)
    except TypeError as error:
        raise ValueError(f"{config.name!r} does not take these options: {error}") from error
    model.configure(config)
    return model


def _refuse_unknown_options(config: ModelConfig) -> None:
    """Name an option that neither the network nor its context module has; Python's own error would name a class."""
    parameters = inspect.signature(NETWORKS[config.network]).parameters
    if "context" in parameters:
        context = config.options.get("context", parameters["context"].default)
        module = CONTEXT_MODULES.get(context) if isinstance(context, str) else None
        if module is None:  # "none", whose error names its options, or an unknown one
            return
        others = inspect.signature(module).parameters
    elif any(each.kind is each.VAR_KEYWORD for each in parameters.values()):  # for what the network passes on
        return
    else:
        others = {}
    known = {name for name, each in {**parameters, **others}.items() if each.kind is not each.VAR_KEYWORD}
    known = sorted(known - _GIVEN_ELSEWHERE)
    unknown = [option for option in config.options if option not in known]
    if unknown:
        raise ValueError(f"{config.name!r} has no option {unknown[0]!r}; it takes {', '.join(known)}")


# Parameters that are no options: from the labels, and from the head around the context module.
_GIVEN_ELSEWHERE = {"num_classes", "out_channels"}


def _load(model: nn.Module, state: dict, origin: str) -> None:
    """Strict loading with a message of one line."""
    if problem := misfit(state, model.state_dict()):
        raise ValueError(f"the weights of {origin} do not fit this model: the file {problem}")
    model.load_state_dict(state)
