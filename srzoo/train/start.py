"""The model that a run starts from."""

from __future__ import annotations

import warnings

from ..labels import LabelSet
from ..models.base import ZooModel
from ..recipes.recipe import STARTS, Recipe
from ..zoo.factory import create_model, trained_model
from ..zoo.registry import ARCHITECTURES, split_name
from ..zoo.weights import holds_model, read_config


def starting_model(recipe: Recipe, labels: LabelSet | None, is_new: bool) -> ZooModel:
    """Build the model of a recipe, with its start weights and the classes of the data.

    Args:
        recipe: says which model it is and where its weights come from.
        labels: the classes of the data; None if they have no names.
        is_new: False for a run that resumes. The weights of an ImageNet backbone are then not loaded.

    Raises:
        ValueError: recipe and data differ in the number of classes, or the start weights do not fit the model.
        FileNotFoundError: there is no such file.
        RuntimeError: the ImageNet weights cannot be downloaded.
    """
    options = dict(recipe.model_options)
    if labels and options.get("num_classes", len(labels.classes)) != len(labels.classes):
        raise ValueError(
            f"the recipe has num_classes={options['num_classes']}, but the data has {len(labels.classes)} classes; "
            "leave num_classes out"
        )
    if recipe.start == "published":
        model = trained_model(recipe.model, labels=labels, **options)
    elif recipe.start not in STARTS and holds_model(recipe.start) and _is_of_the_architecture(recipe):
        model = trained_model(recipe.start, labels=labels, **options)
    else:
        backbone = {"imagenet": True, "random": False}.get(recipe.start, recipe.start)
        model = create_model(recipe.model, pretrained_backbone=is_new and backbone, labels=labels, **options)
    transform = model.config.transform
    if recipe.short_side:
        transform = transform.with_short_side(recipe.short_side)
    model.reconfigure(labels, transform)
    return model


def _is_of_the_architecture(recipe: Recipe) -> bool:
    """Whether a file to start from holds the same architecture; the dataset may be another one.

    Of another architecture only the backbone is a start, which has to be the same.

    Raises:
        ValueError: it has another backbone.
    """
    own = read_config(recipe.start)
    if split_name(own.name)[0] == split_name(recipe.model)[0]:
        return True
    options = {**ARCHITECTURES[split_name(recipe.model)[0]].options, **recipe.model_options}
    if own.options.get("backbone") != options.get("backbone"):
        raise ValueError(
            f"{recipe.start} holds {own.name} over {own.options.get('backbone')}, but the recipe trains {recipe.model} "
            f"over {options.get('backbone')}; start from a file of {recipe.model}, or train {own.name}"
        )
    warnings.warn(f"{recipe.start} holds {own.name}: its backbone alone is the start of {recipe.model}", stacklevel=3)
    return False
