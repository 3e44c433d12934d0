"""The model that a run starts from."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

from ..labels import LabelSet
from ..messages import nearest
from ..models.base import ZooModel
from ..recipes.recipe import STARTS, Recipe
from ..zoo.factory import build, class_tensors, create_model, trained_model
from ..zoo.published import PUBLISHED, file_of
from ..zoo.registry import ARCHITECTURES, split_name
from ..zoo.weights import holds_model, read_config, read_model_file


def starting_model(recipe: Recipe, labels: LabelSet | None, is_new: bool) -> ZooModel:
    """Build the model of a recipe, with its start weights and the classes of the data.

    Args:
        recipe: says which model it is and where its weights come from.
        labels: the classes of the data; None if they have no names.
        is_new: False for a run that resumes. The weights of an ImageNet backbone are then not loaded.

    Raises:
        ValueError: recipe and data differ in the number of classes, the start weights do not fit the model, or it has
            no module that is to be reset.
        FileNotFoundError: there is no such file.
        RuntimeError: the ImageNet weights cannot be downloaded.
    """
    options, start = dict(recipe.model_options), file_of(recipe.start)
    if labels and options.get("num_classes", len(labels.classes)) != len(labels.classes):
        raise ValueError(
            f"the recipe has num_classes={options['num_classes']}, but the data has {len(labels.classes)} classes; "
            "leave num_classes out"
        )
    if recipe.start == "published":
        model = trained_model(recipe.model, labels=labels, **options)
    elif recipe.start not in STARTS and holds_model(start):
        if _is_of_the_architecture(recipe, start):
            model = trained_model(start, labels=labels, **options)
        else:
            model = create_model(recipe.model, pretrained_backbone=is_new and start, labels=labels, **options)
            if is_new:
                _take_shared(model, recipe, start)
    else:
        backbone = {"imagenet": True, "random": False}.get(recipe.start, recipe.start)
        if is_new and isinstance(backbone, str) and not Path(backbone).exists():
            known = [*STARTS, *sorted(PUBLISHED)]
            raise FileNotFoundError(
                f"start: no weights file {backbone}{nearest(backbone, known)}; it is one of {', '.join(STARTS)}, the "
                "name of a model with published weights, or a file"
            )
        model = create_model(recipe.model, pretrained_backbone=is_new and backbone, labels=labels, **options)
    if is_new and recipe.reset:
        _reset(model, recipe)
    transform = model.config.transform
    if recipe.short_side:
        transform = transform.with_short_side(recipe.short_side)
    if recipe.mean:
        if len(recipe.mean) != transform.channels:
            raise ValueError(
                f"mean and std have {len(recipe.mean)} values, but the model takes images of {transform.channels} "
                "channels; give one for each"
            )
        transform = dataclasses.replace(transform, mean=recipe.mean, std=recipe.std)
    model.reconfigure(labels, transform, thresholds={})  # those of the start suit its weights alone
    return model


def _is_of_the_architecture(recipe: Recipe, file: str) -> bool:
    """Whether a file to start from holds the same architecture; the dataset may be another one.

    Raises:
        ValueError: it has another backbone.
    """
    own = read_config(file)
    if split_name(own.name)[0] == split_name(recipe.model)[0]:
        return True
    options = {**ARCHITECTURES[split_name(recipe.model)[0]].options, **recipe.model_options}
    if own.options.get("backbone") != options.get("backbone"):
        raise ValueError(
            f"{recipe.start} holds {own.name} over {own.options.get('backbone')}, but the recipe trains {recipe.model} "
            f"over {options.get('backbone')}; start from a file of {recipe.model}, or train {own.name}"
        )
    return False


def _take_shared(model: ZooModel, recipe: Recipe, file: str) -> None:
    """Load what another architecture over the same backbone shares with a model, beside the backbone.

    These are the tensors of equal names and shapes: from a Panoptic FPN to Mask R-CNN all of them, from one kind of
    segmentation to another none. Those of the classes are not among them if a class is another output there.
    """
    own, state = read_model_file(file)
    wanted = model.state_dict()
    if _detected(model.config.labels).moved_from(_detected(own.labels)):
        for name in class_tensors(model.config):
            wanted.pop(name)
    shared = {name: value for name, value in state.items() if name in wanted and value.shape == wanted[name].shape}
    model.load_state_dict(shared, strict=False)
    heads = sum(not name.startswith("backbone.") for name in shared)
    what = f"its backbone and {heads} tensors of its heads are" if heads else "its backbone alone is"
    warnings.warn(f"{recipe.start} holds {own.name}: {what} the start of {recipe.model}", stacklevel=3)


def _detected(labels: LabelSet) -> LabelSet:
    """The classes that a detector with these labels finds objects of: the things, or all of them."""
    return labels if labels.things is None else labels.reordered([i for i, thing in enumerate(labels.things) if thing])


def _reset(model: ZooModel, recipe: Recipe) -> None:
    """Give the modules in ``recipe.reset`` the weights of a new model."""
    own = {name for name, part in model.named_modules() if name and any(True for _ in part.parameters())}
    for name in recipe.reset:
        if name not in own:
            known = [each for each in own if each.count(".") == name.count(".")]
            raise ValueError(f"reset: {recipe.model} has no module {name!r} with weights{nearest(name, sorted(known))}")
    new = build(model.config)
    for name in recipe.reset:
        model.get_submodule(name).load_state_dict(new.get_submodule(name).state_dict())
