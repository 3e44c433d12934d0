"""Build, save and load models by name or file."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from ..backbones import normalization, probe
from ..backbones.imagenet import load_imagenet_weights
from ..backbones.stem import adapt_stem
from ..data.bands import RGB, check_channels
from ..labels import LabelSet
from ..labels.own import labels_of, numbered_labels
from ..layers import CONTEXT_MODULES
from ..layers.checks import check_whole
from ..layers.context import check_context
from ..layers.insertion import block_names
from ..messages import no_option, one_line, shortened, visible
from ..models import NETWORKS, ZooModel
from ..models.base import check_dtype, check_labels, check_zoo_model
from ..state_dicts import misfit
from . import registry
from .config import ModelConfig
from .datasets import DATASETS, labels_for
from .foreign.detector import TITLES, ForeignDetector
from .foreign.download import DOWNLOADED, read_downloaded
from .published import PUBLISHED, read_published
from .remote import is_remote, read_remote, shown
from .transform import Transform
from .weights import is_model_file, read_model_file, write_model_file


def create_model(
    name: str,
    pretrained: bool = False,
    num_classes: int | None = None,
    context: str | None = None,
    pretrained_backbone: bool | str | Path = False,
    labels: LabelSet | None = None,
    classes: Sequence[str] | None = None,
    palette: Sequence | None = None,
    things: Sequence[bool] | None = None,
    **options,
) -> ZooModel:
    """Build a model by its name.

    Args:
        name: ``<architecture>`` or ``<architecture>_<dataset>``, see `list_models`; or "srnet" together with
            ``backbone=``, the name of any timm backbone that supports ``features_only``. With ``pretrained`` also a
            model elsewhere, as for `load_model`.
        pretrained: load the published weights of this name. Some are other projects' files, which are downloaded once.
            Where ``classes`` or ``labels`` have the names of their classes in another order, the outputs follow it.
        num_classes: number of classes; default that of the dataset. With ``pretrained`` and another number, the
            classifiers are initialized randomly.
        context: a key of `srzoo.layers.CONTEXT_MODULES`; "none" builds the model without a context module. Default that
            of the architecture: "sr" for SRNet, "psp" for DFSeg. FCN has no context module.
        pretrained_backbone: load ImageNet weights into the backbone: True for the published ones, or the path of a file
            with timm's names. Cannot be combined with ``pretrained``, which includes the backbone.
        labels: names and colours of the classes, and which are things, instead of ``num_classes``. A panoptic model of
            other classes than its dataset's needs them.
        classes: names of the classes in order of id, instead of ``num_classes``.
        palette: a colour for each of ``classes``, ``(r, g, b)`` or ``"#rrggbb"``; by default colours that differ well.
        things: whether each class is of countable objects, for a panoptic model of ``classes`` or ``num_classes``.
        **options: of the network's class in `srzoo.models`, e.g. ``output_stride=16``, ``nodes=32`` or
            ``in_channels=4``. For images of other channels than RGB's, pretrained weights of the first convolution are
            adapted by timm's rule, and so are the transform's mean and standard deviation.

    Returns:
        The model in training mode, with its `ModelConfig` as ``model.config``.

    Raises:
        ValueError: an unknown name, an unknown or invalid option, no published weights, or weights that do not fit the
            options.
        FileNotFoundError: ``pretrained_backbone`` is not the path of a file.
        RuntimeError: weights that have to be downloaded cannot be reached.
    """
    _check_start(num_classes, pretrained, pretrained_backbone)
    check_labels(labels)
    if labels is not None and not classes is palette is things is None:
        raise ValueError("labels name the classes, their colours and which are things; leave the others out")
    if not classes is palette is things is None:
        labels = labels_of(classes, palette, num_classes, things)
    _check_count(num_classes, labels)
    if context is not None:
        options["context"] = context
    if is_remote(name):
        return _create_remote(name, pretrained, num_classes, labels, options)
    architecture, dataset = registry.split_name(name)
    if pretrained:
        return _create_pretrained(name, num_classes, labels, options)
    entry = registry.ARCHITECTURES[architecture]
    labels = labels or _labels_for(name, entry, dataset, num_classes)
    config = _config_for(name, entry, options, labels, registry.default_transform(architecture, dataset))
    model = build(config)
    if pretrained_backbone:
        load_imagenet_weights(model.backbone, config.options["backbone"], pretrained_backbone)
    return model


def _check_start(num_classes: int | None, pretrained: bool, pretrained_backbone: bool | str | Path) -> None:
    """Check the arguments of `create_model` that say where the weights come from."""
    if num_classes is not None:
        check_whole(num_classes=num_classes)
    if not isinstance(pretrained, bool):
        raise ValueError(f"pretrained must be True or False, got {pretrained!r}; use srzoo.load_model for a file")
    if not isinstance(pretrained_backbone, (bool, str, Path, type(None))):
        raise ValueError(f"pretrained_backbone must be True or a file's path, got {pretrained_backbone!r}")
    if pretrained and pretrained_backbone:
        raise ValueError("pretrained=True includes the weights of the backbone; leave pretrained_backbone out")


def _check_count(num_classes: int | None, labels: LabelSet | None) -> None:
    """Check that labels and a number of classes that are both given agree."""
    if labels is not None and num_classes not in (None, len(labels.classes)):
        raise ValueError(
            f"num_classes={num_classes}, but the labels have {len(labels.classes)} classes; leave num_classes out"
        )


def _labels_for(name: str, entry: registry.Architecture, dataset: str | None, num_classes: int | None) -> LabelSet:
    """The labels of the dataset, or numbered ones for another ``num_classes``."""
    if num_classes is not None:
        return labels_for(dataset, entry.task, num_classes)
    if dataset is None:
        instead = f", or use a name such as '{name}_{entry.datasets[0]}'" if entry.datasets else ""
        raise ValueError(f"{name!r} has no dataset in its name: pass num_classes{instead}")
    return DATASETS[dataset].labels[entry.task]


def _options_for(name: str, entry: registry.Architecture, options: dict) -> dict:
    """Keyword arguments of the network's class: those of the entry, replaced by those that were given."""
    options = {**entry.options, **options}
    backbone = options.get("backbone")
    if backbone is None:
        raise ValueError(
            f"{name!r} needs a backbone: pass backbone='convnext_tiny' or another of timm, on a command line "
            "--model_options '{backbone: convnext_tiny}'"
        )
    if not isinstance(backbone, str):
        raise ValueError(f"backbone must be the name of a timm model, got {type(backbone).__name__}")
    _check_backbone_options(options)
    if entry.has_backbone:
        return options
    backbone_options, divisor = probe(backbone, options.pop("output_stride", None), _channels(options))
    return {"backbone_options": backbone_options, "size_divisor": divisor, **options}


def _check_backbone_options(options: dict) -> None:
    """Check that the channels of the image are not set beside the network, which would then refuse every image."""
    given = options.get("backbone_options")
    if isinstance(given, dict) and "in_chans" in given:
        raise ValueError(f"backbone_options has in_chans={given['in_chans']!r}: pass in_channels instead")


def _config_for(
    name: str, entry: registry.Architecture, options: dict, labels: LabelSet, transform: Transform
) -> ModelConfig:
    """The configuration of an entry.

    Args:
        options: replace those of the entry.
        transform: the entry's. If the backbone is another, it gets the mean and standard deviation that the backbone's
            weights expect.
    """
    options = _options_for(name, entry, options)
    if options["backbone"] != entry.options.get("backbone"):
        mean, std = normalization(options["backbone"])
        transform = dataclasses.replace(transform, mean=mean, std=std)
    transform = transform.with_channels(_channels(options))
    return ModelConfig(name, entry.network, entry.task, options, labels, transform)


def _channels(options: dict) -> int:
    """The number of channels of a network's images.

    Raises:
        ValueError: it is no whole number, or out of range.
    """
    channels = options.get("in_channels", RGB)
    check_channels(channels)
    return channels


def foreign_weights(detector: ForeignDetector, dataset: str | None) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """The configuration and the state dict of another project's detector.

    Args:
        detector: the detector.
        dataset: the dataset of its classes; None for the default of `ForeignDetector.labels`.

    Raises:
        ValueError: its tensors do not fit the network, or its classes do not fit the dataset.
    """
    labels, dataset = detector.labels(dataset)
    architecture, options = detector.network, {"backbone": detector.backbone, "context": "none", **detector.options}
    for name, entry in registry.ARCHITECTURES.items():
        if entry.network == detector.network and entry.options == {"backbone": detector.backbone, "context": "none"}:
            architecture, options = name, detector.options
    entry = registry.ARCHITECTURES[architecture]
    name = f"{architecture}_{dataset}" if dataset in entry.datasets else architecture
    transform = registry.default_transform(architecture, "coco")  # all of these projects have its sizes as defaults
    config = _config_for(name, entry, options, labels, transform)
    with torch.device("meta"):
        model = build(config)
    return model.config, detector.converted(model.state_dict())


def load_model(path: str | Path) -> ZooModel:
    """Build the model in a file from `save_model`: fine-tuned, converted or published.

    Args:
        path: the ``.safetensors`` file; or a model elsewhere, which is downloaded once: ``"hf-hub:owner/name"``, with
            ``@revision`` at its end if need be, for a repository of a model hub, or the address of a file with its hash
            as ``"https://.../model.safetensors#sha256=..."``.

    Returns:
        The model in training mode, with its `ModelConfig` as ``model.config``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not one of srzoo's, or its tensors do not fit its configuration.
        RuntimeError: a model elsewhere cannot be reached.
    """
    if is_remote(path):
        return _with_weights(*read_remote(path), shown(path))
    if path in registry.names() and not Path(path).exists():
        raise FileNotFoundError(f"no weights file {path}; use srzoo.create_model({path!r}, pretrained=True) for a name")
    return _with_weights(*read_model_file(path), str(path))


def save_model(model: nn.Module, path: str | Path, dtype: torch.dtype | None = None, recipe: str | None = None) -> None:
    """Write a model and its configuration to a file, atomically: an interrupted write leaves the old file.

    Args:
        model: from `create_model` or `load_model`.
        path: the ``.safetensors`` file, which is told from a name by its ending.
        dtype: storage dtype of the floating tensors, e.g. ``torch.float16``. By default, and where ``dtype`` would
            overflow, a tensor keeps its own.
        recipe: the recipe that trained it, as YAML, to store in the file.

    Raises:
        ValueError: the model is not one of srzoo's, is inside a wrapper, or differs from what its configuration builds,
            so that `load_model` could not read the file; the path has another ending; or ``dtype`` is none for weights.
        OSError: the file cannot be written.
    """
    check_dtype(dtype)
    if not is_model_file(str(path)):
        raise ValueError(f"a model file ends in .safetensors, got {visible(str(path))}")
    model = getattr(model, "_orig_mod", model)  # of torch.compile, which prefixes the names of all tensors
    check_zoo_model(model, "save_model")
    state = model.state_dict()
    with torch.device("meta"):
        wanted = build(model.config).state_dict()
    if problem := misfit(state, wanted):
        raise ValueError(
            f"load_model could not load this {model.config.name}: it {problem}; save the model before fuse, insert or "
            "any change of its layers, use reset_classifier for other classes, or write its state dict with safetensors"
        )
    if dtype is not None:
        state = {key: _narrowed(value, dtype) for key, value in state.items()}
    write_model_file(model.config, state, path, recipe)


def _narrowed(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``value`` in ``dtype``, or unchanged if it is not floating or does not fit.

    In float16, whose largest number is 65504, the running variance 7e4 of a BatchNorm would become infinite: the whole
    tensor then stays float32.
    """
    if not value.is_floating_point():
        return value
    narrow = value.to(dtype)
    return narrow if torch.equal(narrow.isfinite(), value.isfinite()) else value


def trained_model(
    source: str | Path, num_classes: int | None = None, labels: LabelSet | None = None, **options
) -> ZooModel:
    """Load a trained model, given as on the command line and in a recipe: by the name of published weights, or by file.

    Args:
        source: a path, or a string: a model elsewhere, the path of a file if it ends in ``.safetensors``, else a name.
        num_classes, labels, **options: as in `create_model`.

    Raises:
        FileNotFoundError, ValueError: as `create_model` and `load_model`.
    """
    _check_count(num_classes, labels)
    if is_remote(source):
        return _create_remote(source, True, num_classes, labels, options)
    if isinstance(source, Path) or is_model_file(source):
        return _with_weights(*read_model_file(source), str(source), num_classes, labels, options)
    return create_model(source, pretrained=True, num_classes=num_classes, labels=labels, **options)


def _create_pretrained(name: str, num_classes: int | None, labels: LabelSet | None, options: dict) -> ZooModel:
    if name in PUBLISHED:
        return _with_weights(*read_published(PUBLISHED[name]), name, num_classes, labels, options)
    if name in DOWNLOADED:
        architecture, dataset = registry.split_name(name)
        config, state = foreign_weights(read_downloaded(DOWNLOADED[name]), dataset)
        options = {"context": registry.ARCHITECTURES[architecture].options["context"], **options}
        return _with_weights(dataclasses.replace(config, name=name), state, name, num_classes, labels, options)
    architecture = registry.ARCHITECTURES[registry.split_name(name)[0]]
    is_elsewhere = architecture.network in TITLES and architecture.options.get("backbone", "").startswith("resne")
    or_convert = ", or convert detectron2's or mmdetection's with srzoo convert" if is_elsewhere else ""
    raise ValueError(
        f"no published weights for {name!r}, only for {', '.join(sorted([*PUBLISHED, *DOWNLOADED]))}; "
        f"train it with srzoo train --model {name} --data.root PATH{or_convert}"
    )


def _create_remote(
    name: str, pretrained: bool, num_classes: int | None, labels: LabelSet | None, options: dict
) -> ZooModel:
    if not pretrained:
        raise ValueError(f"{shown(name)} is a trained model: pass pretrained=True, or the name of an architecture")
    return _with_weights(*read_remote(name), shown(name), num_classes, labels, options)


def _of_blocks(model: ZooModel) -> dict[str, torch.Tensor]:
    """The tensors of the context modules that were inserted into a model."""
    blocks = tuple(f"{name}." for name in block_names(model))
    return {key: value for key, value in model.state_dict().items() if key.startswith(blocks)}


def _with_weights(
    config: ModelConfig,
    state: dict,
    origin: str,
    num_classes: int | None = None,
    labels: LabelSet | None = None,
    options: dict | None = None,
) -> ZooModel:
    """The model of a file.

    Args:
        config, state: the content of the file.
        origin: its name, for messages.
        num_classes, labels: for another number of classes than the file's, tensors that depend on it are initialized
            randomly; so are those of all classes if one has the name of another of the file's. The same names in
            another order keep their tensors, and so do as many new names.
        options: replace those of the file. If they add a context module to a detector without one, the module is new.
    """
    own, own_context = len(config.classes), config.options.get("context")
    config = dataclasses.replace(config, options={**config.options, **(options or {})})
    if "in_channels" in (options or {}):
        config = dataclasses.replace(config, transform=config.transform.with_channels(_channels(config.options)))
    if labels is None:
        labels = config.labels if num_classes in (None, own) else numbered_labels(num_classes)
    order = _order(config, labels)
    wanted = config if order else dataclasses.replace(config, labels=labels)
    new: set[str] = set()
    try:
        with torch.device("meta"):  # before any memory is allocated, since a file can ask for any amount
            twin = build(wanted)
            _check_buffers(twin)
            why = None if order else _other_classes(config, labels)
            if why:
                new = _of_another_shape(twin.state_dict(), build(_with_all_outputs(config)).state_dict())
                new |= set() if _shares_a_head(config, labels) else class_tensors(wanted)
    except _BUILD_ERRORS as error:
        raise ValueError(f"{origin}: {one_line(error)}") from error
    if "in_channels" in (options or {}):
        state = adapt_stem(state, twin.state_dict(), twin.in_channels)
    shown = {key: value for key, value in twin.state_dict().items() if key in new and key in state}
    if own_context == "none":  # "sr" starts as the identity, so the model computes the same
        shown = {**_of_blocks(twin), **shown}
    given = [key for key in options or {} if key != "context" or own_context != "none"]
    _check_fit({**state, **shown}, twin.state_dict(), origin, given)
    model = build(wanted)
    if new:
        said = f"{origin}: {why}, so these start from random values: {', '.join(sorted(new))}"
        warnings.warn(said, stacklevel=4)
        model.reconfigure(thresholds={})
    built = model.state_dict()
    model.load_state_dict({**state, **{key: built[key] for key in shown}})
    if order:
        model.reorder_classes(labels)
    return model


def _order(config: ModelConfig, labels: LabelSet) -> tuple[int, ...] | None:
    """The id in a file of each class, if the file has the same classes in another order; else None."""
    order = labels.order_in(config.labels)
    if order is None or labels.classes == config.classes:
        return None
    is_alike = not _has_things(config) or labels.things == config.labels.reordered(order).things
    return order if is_alike else None


def _other_classes(config: ModelConfig, labels: LabelSet) -> str | None:
    """Why the classifiers of a file are none for these classes, in words; None if they are."""
    own = len(config.classes)
    if len(labels.classes) != own:
        return f"{len(labels.classes)} classes instead of {own}"
    if _has_things(config) and labels.things != config.labels.things:
        return "other classes are things"
    moved = labels.moved_from(config.labels)
    return moved and f"the class {moved!r} has another id and others have other names"


def _shares_a_head(config: ModelConfig, labels: LabelSet) -> bool:
    """Whether another number of classes leaves a panoptic file its head for things, or that for stuff."""
    if len(labels.classes) == len(config.classes) or not _has_things(config) or labels.things is None:
        return False
    own, wanted = (
        [[name for name, thing in zip(each.classes, each.things) if thing is kind] for kind in (True, False)]
        for each in (config.labels, labels)
    )
    return any(a == b for a, b in zip(own, wanted))


def _has_things(config: ModelConfig) -> bool:
    return config.network in NETWORKS and "things" in _parameters(NETWORKS[config.network])


def class_tensors(config: ModelConfig) -> set[str]:
    """The names of the tensors that depend on which classes there are."""
    with torch.device("meta"):
        model = build(config)
        before = dict(model.named_parameters())
        model._replace_classifiers(config.labels)
    return {name for name, value in model.named_parameters() if before.get(name) is not value}


def _with_all_outputs(config: ModelConfig) -> ModelConfig:
    """Without the option for one output, which is for two classes: a file may have more, and new ones be two."""
    options = {key: value for key, value in config.options.items() if key != "one_output"}
    return dataclasses.replace(config, options=options)


def _of_another_shape(state: dict, built: dict) -> set[str]:
    """The names of tensors whose shape differs between two state dicts."""
    return {key for key, value in state.items() if key in built and built[key].shape != value.shape}


def _check_buffers(twin: nn.Module) -> None:
    """Check the size of the tensors that a file does not hold, such as an index of positions.

    Args:
        twin: the model on the meta device.

    Raises:
        ValueError: they are too large.
    """
    numbers = sum(each.numel() for each in twin.buffers()) + sum(each.numel() for each in twin.parameters())
    numbers -= sum(each.numel() for each in twin.state_dict().values())
    if numbers > _MAX_BUFFERS:
        raise ValueError(f"its options ask for {numbers:,} numbers that are not in the file, at most {_MAX_BUFFERS:,}")


_MAX_BUFFERS = 1 << 27
# What networks raise for options of a wrong type, beside ValueError.
_BUILD_ERRORS = (
    *(
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        AssertionError,
        RuntimeError,
        RecursionError,
    ),
)


def build(config: ModelConfig) -> ZooModel:
    """Build the network of a configuration, with random weights.

    Raises:
        ValueError: an unknown network, another task than the network's, or an unknown or invalid option.
    """
    network = NETWORKS.get(config.network)
    if network is None:
        known = ", ".join(NETWORKS)
        raise ValueError(f"unknown network {config.network!r} of {config.name!r}; this version has {known}")
    if config.task != network.task:
        raise ValueError(
            f"the configuration of {config.name!r} has the task {config.task!r}, but its network {config.network!r} "
            f"has {network.task!r}"
        )
    _refuse_unknown_options(config)
    _check_limits(config.options)
    if _channels(config.options) != config.transform.channels:
        raise ValueError(
            f"{config.name!r} takes images of {_channels(config.options)} channels, but its transform has mean and std "
            f"for {config.transform.channels}"
        )
    of_labels = {"num_classes": len(config.classes)}
    if "things" in _parameters(network):
        of_labels["things"] = config.labels.things
    try:
        model = network(**of_labels, **config.options)
    except TypeError as error:
        raise ValueError(f"{config.name!r} does not take these options: {error}") from error
    model.configure(config)
    return model


def _refuse_unknown_options(config: ModelConfig) -> None:
    """Check that the network or its context module has every option. The error lists the options that exist.

    Raises:
        ValueError: an unknown option, one that follows from the labels, or an option that is missing.
    """
    parameters = _parameters(NETWORKS[config.network])
    given = [option for option in config.options if option in _GIVEN_ELSEWHERE]
    if given:
        why = _GIVEN_ELSEWHERE[given[0]]
        raise ValueError(f"{given[0]!r} is no option of {config.name!r}, since it follows from {why}")
    if "backbone" in parameters and "backbone" not in config.options:
        raise ValueError(f"{config.name!r} lacks the option 'backbone'")
    others, left = set(), set()
    if "context" in parameters:
        context = config.options.get("context", parameters["context"].default)
        check_context(context)
        module = CONTEXT_MODULES[context]
        if _takes_any(module):  # it checks its options
            return
        others = _options_of(module)
        of_any = set().union(*map(_options_of, CONTEXT_MODULES.values()))
        foreign = of_any - {*parameters, *others, *_GIVEN_ELSEWHERE}
        if module is None:  # the network raises a clearer error
            left = foreign
        elif given := [name for name in config.options if name in foreign]:
            takes = ", ".join(sorted(others - {*parameters, *_GIVEN_ELSEWHERE})) or "no options"
            raise ValueError(
                f"context={context!r} takes {takes}, got {given[0]}; leave it out, or choose another context"
            )
    elif any(map(_is_any, parameters.values())):  # the network checks its options
        return
    own = {name for name, each in parameters.items() if _is_option(each)}
    known = sorted((own | others).difference(_GIVEN_ELSEWHERE))
    unknown = [option for option in config.options if option not in {*known, *left}]
    if unknown:
        arguments = [name for name, each in inspect.signature(create_model).parameters.items() if not _is_any(each)]
        raise ValueError(no_option(repr(config.name), unknown[0], known, arguments))


def _is_any(parameter: inspect.Parameter) -> bool:
    """Whether it is ``**options``."""
    return parameter.kind is parameter.VAR_KEYWORD


def _is_option(parameter: inspect.Parameter) -> bool:
    """Whether it has a name to give it by, unlike ``*args`` and ``**options``."""
    return parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _options_of(module: Callable[..., nn.Module] | None) -> set[str]:
    """The names of a context module's parameters; that of the channels is among them."""
    parameters = inspect.signature(module).parameters if module else {}
    return {name for name, each in parameters.items() if _is_option(each)}


def _takes_any(module: Callable[..., nn.Module] | None) -> bool:
    """Whether a context module, which may be a user's own, has ``**options``."""
    return module is not None and any(map(_is_any, inspect.signature(module).parameters.values()))


def network_options() -> set[str]:
    """The names of all options that some network or context module has."""
    of_networks = {name for network in NETWORKS.values() for name in _parameters(network)}
    found = of_networks.union(*map(_options_of, CONTEXT_MODULES.values()))
    return found.difference(_GIVEN_ELSEWHERE, {"context_options", "options"})


def _check_limits(options: dict) -> None:
    """Check options that say how often something is done or how large an image gets, which no shape of a tensor shows.

    Raises:
        ValueError: one is larger than its limit.
    """
    for name, most in _LIMITS.items():
        for value in options[name] if isinstance(options.get(name), (tuple, list)) else [options.get(name)]:
            if isinstance(value, (int, float)) and not value <= most:
                raise ValueError(f"{name} must be at most {most}, got {shortened(options[name])}")


_LIMITS = {
    "size_divisor": 512,
    "iterations": 64,
    "recurrences": 16,
    "order": 64,
    "kernel_size": 63,
    "bins": 256,
    "rates": 256,
    "multi_grid": 64,
    "rpn_convs": 16,
    "sampling": 16,
    "anchor_scale": 1024,
}


def _parameters(network: type[ZooModel]) -> dict[str, inspect.Parameter]:
    """The parameters of a network's class, and of its base classes as far as it passes keyword arguments on to them.

    Those named ``context_options`` go to the context module instead.
    """
    found: dict[str, inspect.Parameter] = {}
    for each in network.__mro__:
        if each is ZooModel:
            break
        if "__init__" in vars(each):
            own = inspect.signature(each).parameters
            found = {**own, **found}
            passed_on = [name for name, each in own.items() if each.kind is each.VAR_KEYWORD]
            if passed_on in ([], ["context_options"]):
                break
    return found


# Parameters that are not options, and what sets them.
_GIVEN_ELSEWHERE = {"num_classes": "the labels", "things": "the labels", "out_channels": "the head's channels"}


def _check_fit(state: dict, wanted: dict, origin: str, options: list[str]) -> None:
    """Check that a state dict fits exactly; unlike PyTorch's, the message is one line.

    Args:
        state, wanted: that of the file, and that of the model.
        origin: the file's name.
        options: names of those by which the model may differ from the file's.

    Raises:
        ValueError: a missing or unexpected tensor, or another shape.
    """
    if problem := misfit(state, wanted):
        other = "start from other weights (pretrained=False, or --start imagenet of srzoo train)"
        advice = f"; leave out {', '.join(options)}, or {other}" if options else ""
        raise ValueError(f"the weights of {origin} do not fit this model: the file {problem}{advice}")
