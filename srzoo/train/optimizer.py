"""Optimizers: the backbone and the rest have their own rates, norms and biases have no weight decay."""

import torch
from timm.optim import param_groups_weight_decay

from ..recipes.recipe import Recipe
from .schedule import cosine, falling, poly


def make_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of a recipe, over the parameters of ``model`` that require a gradient."""
    groups = _parameter_groups(model, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=recipe.momentum)
    return torch.optim.AdamW(groups)


def make_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate of a recipe, see `poly`, `cosine` and `falling`.

    Args:
        optimizer: has the base rates.
        recipe: says how long the warm-up is.
        steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of an epoch.
    """
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    milestones = [round(epoch * steps_per_epoch) for epoch in recipe.milestones]

    def factor(step: int) -> float:
        if milestones or recipe.schedule == "constant":
            return falling(step, warmup, milestones)
        if recipe.schedule == "cosine":
            return cosine(step, steps, warmup)
        return poly(step, steps, warmup, recipe.power)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _parameter_groups(model: torch.nn.Module, recipe: Recipe) -> list[dict]:
    """Groups of a rate and a weight decay each: the backbone's before the rest, without weight decay before with it."""
    slow = {id(p) for p in model.pretrained_parameters()}
    groups = []
    for is_slow, rate in ((True, recipe.lr * recipe.backbone_lr_scale), (False, recipe.lr)):
        part = {name: p for name, p in model.named_parameters() if (id(p) in slow) == is_slow}
        for group in param_groups_weight_decay(_Named(part), recipe.weight_decay):
            groups.append({**group, "lr": rate})
    return groups


class _Named:
    """Some parameters of a model by name, as timm's function reads them."""

    def __init__(self, parameters: dict[str, torch.nn.Parameter]):
        self._parameters = parameters

    def named_parameters(self):
        return self._parameters.items()
