"""Joint augmentation of an image and the masks of its objects, with torchvision's v2 transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from ...data.colour import RandomColour
from ...data.mask_windows import MaskWindows
from ...data.objects import Objects
from ...data.scaled_crop import ScaledCrop, randint
from ...zoo.transform import Transform
from .options import InstanceOptions

_CHUNK = 16  # masks that are decoded at a time, which bounds the memory


@dataclass(frozen=True)
class Augment:
    """Random scale, crop, flips, turns and colour jitter. Objects are kept whole, or dropped by the share that is left.

    Attributes:
        crop, scale, short_side, long_side: as for `ScaledCrop`.
        min_share: an object of which the crop leaves less than this share is dropped.
        jitter: strength of the changes of brightness, contrast and saturation; the hue changes by a sixth of it.
        flip, vertical_flip: mirror the image left to right, or top to bottom, with probability one half.
        turns: turn it by a random multiple of 90 degrees.
    """

    crop: int | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    short_side: int | None = None
    long_side: int | None = None
    min_share: float = 0.3
    jitter: float = 0.0
    flip: bool = True
    vertical_flip: bool = False
    turns: bool = False

    @classmethod
    def of(cls, options: InstanceOptions, transform: Transform | None, **more: Any) -> Augment:
        """As a recipe's options have it, with the sides that the model's transform has at factor 1.

        Args:
            options: of the task.
            transform: of the model; without one, images keep their size at factor 1.
            **more: attributes of a subclass.
        """
        sides = (None, None) if transform is None else (transform.short_side, transform.long_side)
        return cls(
            options.crop,
            options.scale,
            *sides,
            options.min_share,
            options.jitter,
            options.flip,
            options.vertical_flip,
            options.turns,
            **more,
        )

    @cached_property
    def _crop(self) -> ScaledCrop:
        return ScaledCrop(self.crop, self.scale, self.short_side, self.long_side)

    @cached_property
    def _colour(self) -> RandomColour:
        return RandomColour(self.jitter, self.jitter / 6)

    def __call__(self, image: np.ndarray, objects: Objects) -> tuple[torch.Tensor, dict[str, Any]]:
        """Augment an image and its objects, with random numbers of PyTorch's default generator.

        Args:
            image: ``(H, W, 3)`` uint8 RGB, or ``(H, W, C)`` float32 in 0..255.
            objects: of the image. Of crowds the target has the boxes alone, where nothing is learned.

        Returns:
            The image ``(C, h, w)`` of its dtype, and a target as in `srzoo.models.targets.check_targets`.
        """
        image, geometry = self.picture(image)
        singles = np.flatnonzero(~objects.crowd)
        areas = np.array([rle_area(objects, i) for i in singles])
        masks, kept = self.masks(geometry, objects.boxes[singles], areas, lambda some: objects.decode(singles[some]))
        crowds = self.moved(geometry, objects.boxes[objects.crowd])
        return image, target(masks, objects.classes[singles][kept], crowds)

    def picture(self, image: np.ndarray) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """The augmented image ``(C, h, w)``, and its geometry, which maps masks ``(..., H, W)`` uint8 alike."""
        picture = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))
        params = self._crop.make_params([picture])
        is_flipped = self.flip and bool(torch.rand(()) < 0.5)
        is_upside_down = self.vertical_flip and bool(torch.rand(()) < 0.5)
        turns = randint(3) if self.turns else 0

        def geometry(inpt: torch.Tensor) -> torch.Tensor:
            result = self._crop.transform(inpt, params)
            result = F.horizontal_flip(result) if is_flipped else result
            result = F.vertical_flip(result) if is_upside_down else result
            if turns:
                result = tv_tensors.wrap(result.as_subclass(torch.Tensor).rot90(turns, (-2, -1)), like=result)
            return result

        geometry.params, geometry.is_flipped = params, is_flipped
        geometry.is_upside_down, geometry.turns = is_upside_down, turns
        picture = geometry(picture)
        if self.jitter:
            picture = self._colour(picture)
        return picture.as_subclass(torch.Tensor), geometry

    def masks(
        self,
        geometry: Callable[[torch.Tensor], torch.Tensor],
        boxes: np.ndarray,
        areas: np.ndarray,
        decode: Callable[[np.ndarray], np.ndarray],
    ) -> tuple[MaskWindows, np.ndarray]:
        """The masks of the objects that remain, and the indices of these.

        Args:
            geometry: of the image, from `picture`.
            boxes: ``(n, 4)`` x0, y0, x1, y1 of the objects in the image.
            areas: ``(n,)`` pixels of their masks.
            decode: gives the masks ``(m, H, W)`` uint8 of some objects.
        """
        top, left, height, width = geometry.params["box"]
        size = tuple(geometry.params["size"])
        turned = size[::-1] if geometry.turns % 2 else size
        x0, y0, x1, y1 = boxes.T
        seen = np.flatnonzero((x1 > left) & (x0 < left + width) & (y1 > top) & (y0 < top + height))
        wanted = self.min_share * areas * (size[0] / height) * (size[1] / width)
        parts, kept = [], []
        for start in range(0, len(seen), _CHUNK):
            some = seen[start : start + _CHUNK]
            masks = MaskWindows.of(geometry(tv_tensors.Mask(torch.from_numpy(decode(some)))).as_subclass(torch.Tensor))
            own = masks.areas().numpy()
            keep = np.flatnonzero((own > 0) & (own >= wanted[some]))
            parts.append(masks.select(keep))
            kept.append(some[keep])
        return MaskWindows.cat(parts, turned), np.concatenate([np.zeros(0, np.int64), *kept])

    def moved(self, geometry: Callable[[torch.Tensor], torch.Tensor], boxes: np.ndarray) -> torch.Tensor:
        """``(m, 4)`` float32 boxes under a geometry from `picture`, clipped; those outside of the crop are left out."""
        top, left, height, width = geometry.params["box"]
        rows, columns = geometry.params["size"]
        moved = (boxes - [left, top, left, top]) * [columns / width, rows / height, columns / width, rows / height]
        x0, x1 = moved[:, 0].clip(0, columns), moved[:, 2].clip(0, columns)
        y0, y1 = moved[:, 1].clip(0, rows), moved[:, 3].clip(0, rows)
        if geometry.is_flipped:
            x0, x1 = columns - x1, columns - x0
        if geometry.is_upside_down:
            y0, y1 = rows - y1, rows - y0
        for _ in range(geometry.turns):  # by 90 degrees against the clock, as rot90
            x0, y0, x1, y1 = y0, columns - x1, y1, columns - x0
            rows, columns = columns, rows
        inside = (x1 > x0) & (y1 > y0)
        return torch.from_numpy(np.stack([x0, y0, x1, y1], 1)[inside].astype(np.float32))


def rle_area(objects: Objects, index: int) -> int:
    """Pixels of the mask of an object."""
    from ...data.rle import coder

    return int(coder().area(objects.masks[index]))


def target(masks: MaskWindows, classes: np.ndarray, crowds: torch.Tensor) -> dict[str, Any]:
    """A target as in `srzoo.models.targets.check_targets`, with the boxes of the masks."""
    return {"boxes": masks.windows.float(), "labels": torch.from_numpy(classes), "masks": masks, "crowds": crowds}


def collate(items: Sequence[tuple]) -> tuple[torch.Tensor, list[tuple[int, int]], list[dict], torch.Tensor]:
    """A batch of augmented samples ``(image, target, index)``.

    Returns:
        The images ``(N, C, H, W)`` of their dtype, padded at the right and at the bottom to the largest; the size
        ``(H, W)`` of each before that; the targets; and the indices ``(N,)`` int64.
    """
    images, targets, indices = zip(*items)
    sizes = [tuple(image.shape[-2:]) for image in images]
    height, width = (max(32, *sides) for sides in zip(*sizes))
    batch = images[0].new_zeros(len(images), len(images[0]), height, width)
    for own, image in zip(batch, images):
        own[:, : image.shape[1], : image.shape[2]] = image
    return batch, sizes, list(targets), torch.tensor(indices)
