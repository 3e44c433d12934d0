"""Images with several mask files each: one for each object, or one in black and white for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..masks import Storage, read_mask, read_object_ids
from ..objects import Objects, found_in
from ..samples import FilePairs, InstanceData, PairedFiles
from ..variants import drawn


@dataclass
class SeveralMasks(FilePairs):
    """A split of images with one or several masks each, of which the later lie over the earlier.

    Attributes:
        more: paths of all masks but the first, by the image.
    """

    more: dict[Path, list[Path]]

    def mask(self, index: int) -> np.ndarray:
        mask = super().mask(index)
        for path in self.more.get(self.pairs[index][0], ()):
            other = read_mask(path, as_colours=self.id_map is not None and self.id_map.has_colours)
            if other.shape != mask.shape:
                raise ValueError(f"{path} and {self.pairs[index][1]} are masks of one image, but differ in size")
            mask = np.where(other > 0, other, mask)
        return mask

    def files(self) -> list[Path]:
        return [*super().files(), *(path for image, _ in self.pairs for path in self.more.get(image, ()))]


@dataclass
class ClassMasks(SeveralMasks):
    """A split of images with a mask in black and white for each class, over a background of 0.

    Attributes:
        class_of: class id of each mask; of two that overlap, that with the higher id lies above.
    """

    class_of: dict[Path, int]

    def mask(self, index: int) -> np.ndarray:
        image, first = self.pairs[index]
        ids = None
        for path in sorted((first, *self.more.get(image, ())), key=self.class_of.__getitem__):
            shape = drawn(path)
            ids = np.zeros(shape.shape, np.uint8) if ids is None else ids
            if shape.shape != ids.shape:
                raise ValueError(f"{path} and {first} are masks of one image, but differ in size")
            ids[shape] = self.class_of[path]
        return ids

    def storage(self, index: int) -> Storage:
        return Storage()


@dataclass
class ObjectMasks(PairedFiles, InstanceData):
    """A split of images with one mask for each object, all of one class: what is not 0 is the object.

    Attributes:
        more: paths of all masks but the first, by the image.
    """

    more: dict[Path, list[Path]]

    def objects(self, index: int) -> Objects:
        image, first = self.pairs[index]
        found, size = [], None
        for path in (first, *self.more.get(image, ())):
            shape = (read_object_ids(path) > 0).astype(np.uint8)
            if shape.shape != (size or shape.shape):
                raise ValueError(f"{path} and {first} are masks of one image, but differ in size")
            size = shape.shape
            found += found_in(shape, {1: (0, False)}) if shape.any() else []
        return Objects.of(size, found)

    def target_bytes(self, index: int) -> bytes:
        image, first = self.pairs[index]
        return b"".join(path.read_bytes() for path in (first, *self.more.get(image, ())))
