"""The losses of a semantic training run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ...data.samples import SemanticData
from ...data.shares import class_weights, label_shares
from ...zoo.transform import Transform
from ..task import StepContext
from .distillation import Teacher, distillation
from .losses import SegmentationLoss
from .options import SemanticOptions


class SemanticObjective:
    """`SegmentationLoss` by the recipe's options, and what a teacher adds to it.

    Args:
        model: to be trained. Its auxiliary head is frozen where the options give it no weight: several processes would
            wait for a gradient that never comes.
        data: to be trained on, for the rarity of its classes.
        options: the recipe's block.
        context: of the run.

    Raises:
        ValueError: class weights or a teacher for other classes, or a crop below the smallest input.
    """

    def __init__(self, model: nn.Module, data: SemanticData, options: SemanticOptions, context: StepContext):
        if options.crop < Transform.MIN_SIDE:
            raise ValueError(
                f"crop={options.crop} is less than {Transform.MIN_SIDE}, the smallest side that a model takes"
            )
        self.options, self.context = options, context
        self.normalize = model.config.transform.normalize
        self.loss = SegmentationLoss(
            _class_weights(options, data, model.num_classes, context.device),
            options.lovasz,
            options.dice,
            options.aux,
            options.ohem and (options.ohem[0], options.ohem[1] // context.parts),  # each part mines its own pixels
            options.label_smoothing,
            model.align_corners,
        )
        if not options.aux and getattr(model, "aux_head", None) is not None:
            model.aux_head.requires_grad_(False)
        self.teacher = Teacher(options.teacher, model.config.classes, context.device) if options.teacher else None

    def __call__(
        self, forward: Callable, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The weighted losses of ``(N, 3, H, W)`` and ``(N, H, W)`` uint8 images and masks, and unused indices."""
        images, target, _ = batch
        device = self.context.device
        images, target = images.to(device, non_blocking=True), target.to(device, non_blocking=True).long()
        x = self.normalize(images).contiguous(memory_format=torch.channels_last)
        out = forward(x, return_aux=self.options.aux > 0, upsample=False)
        logits, aux = out if self.options.aux else (out, None)
        losses = self.loss(logits, aux, target)
        if self.teacher is not None:
            with self.context.autocast():
                wanted = self.teacher(images)
            losses["distill"] = self.options.distill * distillation(logits, wanted, self.teacher.align_corners)
        return losses


def _class_weights(
    options: SemanticOptions, data: SemanticData, num_classes: int, device: torch.device
) -> torch.Tensor | None:
    weights = options.class_weights
    if weights is False:
        return None
    if weights is True:
        weights = class_weights(label_shares(data, num_classes))
    if len(weights) != num_classes:
        raise ValueError(f"the recipe has {len(weights)} class_weights, the model {num_classes} classes")
    return torch.as_tensor(weights, dtype=torch.float32, device=device)
