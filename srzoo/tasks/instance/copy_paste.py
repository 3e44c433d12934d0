"""Copy-paste: objects of another image in an image (Ghiasi et al., Simple Copy-Paste, CVPR 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...data.mask_windows import MaskWindows
from ...data.samples import ImageData
from ...data.seeded import AugmentedDataset
from .augment import Augment, collate, target


def augmented(dataset: ImageData, augment: Augment, seed: int, copy_paste: float) -> AugmentedDataset:
    """The augmented samples of a dataset of objects or segments, `CopyPaste` of this probability if it is not 0."""
    if copy_paste:
        return CopyPaste(dataset, augment, seed, collate, copy_paste)
    return AugmentedDataset(dataset, augment, seed, collate)


class CopyPaste(AugmentedDataset):
    """An `AugmentedDataset` that copies the objects of one class from a sample of another image into a sample.

    The class is drawn uniformly, and then an image that has it, so that objects of rare classes are seen more often
    than they occur. They are augmented independently of the image, and stay where they are in their own crop; where
    that has none, nothing is copied.

    Args:
        dataset: of objects or segments. All of its annotations are read.
        augment: of a sample; its ``min_share`` holds for what copied objects hide, too.
        seed: of the whole run.
        collate: makes a batch of samples.
        probability: that a class and an image are drawn for a sample.

    Raises:
        ValueError: an annotation cannot be read.
    """

    def __init__(self, dataset: ImageData, augment: Augment, seed: int, collate: Callable, probability: float):
        super().__init__(dataset, augment, seed, collate)
        self.probability = probability
        things = None if dataset.labels is None else dataset.labels.things
        images_of: dict[int, list[int]] = {}
        for index, classes in enumerate(dataset.classes_by_image):
            for class_id in classes:
                if things is None or things[class_id]:
                    images_of.setdefault(class_id, []).append(index)
        self.images_of = sorted(images_of.items())

    def __getitem__(self, position: int) -> tuple:
        image, own, index = super().__getitem__(position)
        draw = np.random.default_rng([self.seed, position])
        if self.images_of and draw.random() < self.probability:
            class_id, donors = self.images_of[draw.integers(len(self.images_of))]
            donor = donors[draw.integers(len(donors))]
            if donor != index:
                image, own = paste(image, own, *self.sample(donor, position, 1), class_id, self.augment.min_share)
        return image, own, index


def paste(
    image: torch.Tensor,
    own: dict[str, Any],
    donor_image: torch.Tensor,
    donor: dict[str, Any],
    class_id: int,
    min_share: float,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Copy the objects of a class from one augmented sample into another, at the same place.

    Args:
        image, own: the image ``(C, h, w)`` and its target, as of `Augment`; a map ``semantic`` is changed alike.
        donor_image, donor: the same of the sample that objects are taken from, of any size.
        class_id: of the objects that are copied.
        min_share: an object of which less than this share is left, since it is hidden or lies outside of the image, is
            dropped; the pixels of one that is outside are not copied.
    """
    size = tuple(image.shape[1:])
    free = torch.ones(size, dtype=torch.uint8)
    same = torch.nonzero(donor["labels"] == class_id).flatten()
    copies, _ = left(donor["masks"].select(same), free, min_share)
    if not len(copies):
        return image, own
    for i, (x0, y0, x1, y1) in enumerate(copies.windows.tolist()):
        free[y0:y1, x0:x1] &= 1 - copies.window(i)
    covered = free == 0
    height, width = (min(sides) for sides in zip(size, donor_image.shape[1:]))
    image = image.clone()
    part = covered[:height, :width]
    image[:, :height, :width][:, part] = donor_image[:, :height, :width][:, part]
    masks, kept = left(own["masks"], free, min_share)
    classes = np.append(own["labels"][kept].numpy(), np.full(len(copies), class_id))
    result = {**own, **target(MaskWindows.cat([masks, copies], size), classes, own["crowds"])}
    if "semantic" in own:
        result["semantic"] = own["semantic"].masked_fill(covered, class_id)
    return image, result


def left(masks: MaskWindows, free: torch.Tensor, min_share: float) -> tuple[MaskWindows, list[int]]:
    """What is left of masks in an image, of each of which at least a share is, and the indices of these.

    Args:
        masks: of an image of any size, at the same place in this one.
        free: ``(H, W)`` uint8 of this image, 0 where something else hides them.
        min_share: a mask of which less than this share of the pixels is left is dropped.
    """
    size, parts, kept = tuple(free.shape), [], []
    for i, ((x0, y0, x1, y1), area) in enumerate(zip(masks.windows.tolist(), masks.areas().tolist())):
        seen = free[y0:y1, x0:x1]
        height, width = seen.shape
        part = MaskWindows.of((masks.window(i)[:height, :width] & seen)[None])
        if len(part.pixels) and part.areas().item() >= min_share * area:
            parts.append(MaskWindows(part.pixels, part.windows + torch.tensor([x0, y0, x0, y0]), size))
            kept.append(i)
    return MaskWindows.cat(parts, size), kept
