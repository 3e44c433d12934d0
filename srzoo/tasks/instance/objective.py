"""The losses of a training run of a detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...data.mask_windows import MaskWindows
from ...models.mask_rcnn import MaskRCNN
from ..task import StepContext
from .options import InstanceOptions

_FEW_IMAGES = 8  # below this, statistics over the images of a step ruin fine-tuning


class DetectionObjective:
    """The losses of a model's heads, weighted.

    Args:
        model: the model to train. Its first stages are frozen if the options say so.
        options: of the task.
        context: the device of the run.

    Raises:
        ValueError: the backbone has fewer stages.
    """

    def __init__(self, model: MaskRCNN, options: InstanceOptions, context: StepContext):
        model.freeze_stages(options.frozen_stages)
        model.roi_heads.sample_regions(options.regions)
        self.model, self.weights, self.device = model, options.weights(), context.device
        self.frozen_statistics = options.frozen_statistics
        self.normalize = model.config.transform.normalize

    def __call__(self, forward: Callable, batch: tuple) -> dict[str, torch.Tensor]:
        """The terms of the loss by name, scalars with their weights applied.

        Args:
            forward: calls the model, see `srzoo.tasks.task.Objective`.
            batch: what `srzoo.tasks.instance.augment.collate` returned.
        """
        images, sizes, targets, _ = batch
        frozen = self.frozen_statistics == "yes" or (self.frozen_statistics == "auto" and len(images) < _FEW_IMAGES)
        if frozen != self.model.frozen_statistics:
            self.model.freeze_statistics(frozen)
        x = self.normalize(images.to(self.device, non_blocking=True))
        for own, (height, width) in zip(x, sizes):  # the padding is the mean colour, as in prediction
            own[:, height:] = 0
            own[:, :, width:] = 0
        x = x.contiguous(memory_format=torch.channels_last)
        losses = forward(x, sizes, [{key: self._moved(value) for key, value in each.items()} for each in targets])
        return {name: self.weights[name] * loss for name, loss in losses.items()}

    def _moved(self, value: Any) -> Any:
        if isinstance(value, MaskWindows):
            return value.to(self.device)
        return value.to(self.device, non_blocking=True)
