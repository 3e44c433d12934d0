"""Joint augmentation of an image and its segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors

from ...data.objects import Segment
from ..instance.augment import Augment, target
from .maps import boxes_of, class_map


@dataclass(frozen=True)
class PanopticAugment(Augment):
    """`Augment` of the segments of an image.

    Attributes:
        things: of each class, whether it is of countable objects.
    """

    things: tuple[bool, ...] = ()

    def __call__(
        self, image: np.ndarray, ids: np.ndarray, segments: Sequence[Segment]
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Augment an image and its segments, with random numbers of PyTorch's default generator.

        Args:
            image: ``(H, W, 3)`` uint8 RGB, or ``(H, W, C)`` float32 in 0..255.
            ids: ``(H, W)`` int32, the segment of each pixel, 0 for void.
            segments: of the image.

        Returns:
            The image ``(C, h, w)`` of its dtype, and a target as `srzoo.models.PanopticFPN` takes it.
        """
        objects = [each for each in segments if self.things[each.class_id] and not each.crowd]
        boxes = boxes_of(ids, [each.id for each in objects])
        image, geometry = self.picture(image)
        areas = np.array([each.area for each in objects], np.float64)
        masks, kept = self.masks(
            geometry, boxes, areas, lambda some: np.stack([ids == objects[i].id for i in some]).astype(np.uint8)
        )
        classes = np.array([each.class_id for each in objects], np.int64)
        groups = [each.id for each in segments if self.things[each.class_id] and each.crowd]
        crowds = self.moved(geometry, boxes_of(ids, groups))
        semantic = geometry(tv_tensors.Mask(torch.from_numpy(class_map(ids, segments))))
        return image, {**target(masks, classes[kept], crowds), "semantic": semantic.as_subclass(torch.Tensor)}
