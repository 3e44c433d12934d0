"""Optimizers: the backbone and the rest have their own rates, norms and biases have no weight decay."""

import torch
from timm.optim import param_groups_weight_decay

from ..recipes.recipe import Recipe
from .schedule import poly


def make_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of a recipe, over the parameters of ``model`` that require a gradient."""
    groups = _parameter_groups(model, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=recipe.momentum)
    return torch.optim.AdamW(groups)


def make_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate of a recipe, see `poly`.

    Args:
        optimizer: has the base rates.
        recipe: says how long the warm-up is.
        steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of an epoch.
    """
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: poly(step, steps, warmup, recipe.power))


def _parameter_groups(model: torch.nn.Module, recipe: Recipe) -> list[dict]:
    rest = {name: child for name, child in model.named_children() if name != "backbone" and child is not None}
    parts = [({"backbone": model.backbone}, recipe.lr * recipe.backbone_lr_scale), (rest, recipe.lr)]
    return [
        {**group, "lr": rate}
        for modules, rate in parts
        for group in param_groups_weight_decay(torch.nn.ModuleDict(modules), recipe.weight_decay)
    ]
