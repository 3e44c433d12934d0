"""The losses of a training run in semantic segmentation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ...data.samples import SemanticData
from ...zoo.transform import Transform
from ..task import StepContext
from .distillation import Teacher, distillation
from .losses import SegmentationLoss
from .options import SemanticOptions
from .shares import class_weights, label_shares


class SemanticObjective:
    """The objective of a recipe: a `SegmentationLoss`, and the distillation loss if there is a teacher.

    Args:
        model: the model to train. Its auxiliary head is frozen if its loss has weight 0, since several processes would
            wait for its gradient.
        data: the dataset to train on; the shares of its classes can give the class weights.
        options: the block ``semantic`` of the recipe.
        context: the device, precision and parts of the run.

    Raises:
        ValueError: the crop is smaller than the smallest input, there are class weights for another number of classes,
            or the teacher has other classes or no weights.
        FileNotFoundError: there is no such file of a teacher.
    """

    def __init__(self, model: nn.Module, data: SemanticData, options: SemanticOptions, context: StepContext):
        if options.crop < Transform.MIN_SIDE:
            raise ValueError(
                f"crop={options.crop} is less than the smallest input, {Transform.MIN_SIDE} pixels; use a larger crop"
            )
        self.options, self.context = options, context
        self.normalize = model.config.transform.normalize
        self.loss = SegmentationLoss(
            _class_weights(options, data, model.num_classes, context.device),
            options.lovasz,
            options.dice,
            options.aux,
            options.ohem and (options.ohem[0], options.ohem[1] // context.parts),  # each part selects its own pixels
            options.label_smoothing,
            model.align_corners,
            options.loss,
            options.focal_gamma,
        )
        if not options.aux and getattr(model, "aux_head", None) is not None:
            model.aux_head.requires_grad_(False)
        self.teacher = Teacher(options.teacher, model.config.classes, context.device) if options.teacher else None

    def __call__(
        self, forward: Callable, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The terms of the loss by name, scalars with their weights applied.

        Args:
            forward: calls the model, see `srzoo.tasks.task.Objective`.
            batch: ``(N, 3, H, W)`` uint8 RGB images, ``(N, H, W)`` uint8 class ids with 255 for unlabelled pixels, and
                ``(N,)`` indices, which are not used.
        """
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
        raise ValueError(f"the recipe has {len(weights)} class_weights, but the model has {num_classes} classes")
    return torch.as_tensor(weights, dtype=torch.float32, device=device)
