"""What of a pretrained backbone is not trained."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..models.base import ZooModel


def freeze(model: ZooModel, what: str) -> list[nn.Module]:
    """Freeze the backbone or its norms, in place.

    Args:
        model: the model, before the optimizer is made.
        what: "no"; "norms", whose running statistics stay as they are; or "backbone", whose parameters stay, too.

    Returns:
        The norms that must be in evaluation mode whenever the model is in training mode.
    """
    if what == "no":
        return []
    pretrained = {id(parameter): parameter for parameter in model.pretrained_parameters()}
    if what == "backbone":
        for parameter in pretrained.values():
            parameter.requires_grad_(False)
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and (module.weight is None or id(module.weight) in pretrained)
    ]
