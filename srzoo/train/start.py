"""The model that a run starts with."""

from __future__ import annotations

import dataclasses

from ..labels import LabelSet
from ..models.base import ZooModel
from ..recipes.recipe import STARTS, Recipe
from ..zoo.factory import create_model, trained_model
from ..zoo.registry import split_name
from ..zoo.weights import holds_model, read_config


def starting_model(recipe: Recipe, labels: LabelSet | None, is_new: bool) -> ZooModel:
    """The recipe's model, for the data's classes where it names them.

    Args:
        recipe: says where its weights come from.
        labels: of the data.
        is_new: False for a run that resumes: a backbone's own weights are then left out.

    Raises:
        ValueError: recipe and data differ in the number of classes, or the start does not fit the model.
        FileNotFoundError: no such file.
        RuntimeError: ImageNet weights that cannot be reached.
    """
    options = dict(recipe.model_options)
    if labels and options.setdefault("num_classes", len(labels.classes)) != len(labels.classes):
        raise ValueError(f"the recipe has num_classes={options['num_classes']}, the data {len(labels.classes)} classes")
    if recipe.start == "published":
        model = trained_model(recipe.model, **options)
    elif recipe.start not in STARTS and holds_model(recipe.start):
        _check_architecture(recipe)
        model = trained_model(recipe.start, **options)
    else:
        backbone = {"imagenet": True, "random": False}.get(recipe.start, recipe.start)
        model = create_model(recipe.model, pretrained_backbone=is_new and backbone, **options)
    transform = model.config.transform
    if recipe.short_side:
        transform = dataclasses.replace(transform, short_side=recipe.short_side)
    model.reconfigure(labels, transform)
    return model


def _check_architecture(recipe: Recipe) -> None:
    """A file may hold the model for another dataset, but no other model."""
    own = read_config(recipe.start).name
    if split_name(own)[0] != split_name(recipe.model)[0]:
        raise ValueError(
            f"{recipe.start} holds {own}, the recipe trains {recipe.model}; start from a file of {recipe.model}, or "
            f"train {own}"
        )
