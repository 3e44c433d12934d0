"""What every reader gives: pairs of an image and its class ids, with their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..images import is_turned_unseen, read_image
from ..labels import LabelSet
from .masks import IdMap, Storage, read_mask, storage_of


@dataclass
class SegmentationData(ABC):
    """A split of a data set: item ``i`` is ``(image, ids)``, uint8 arrays of ``(H, W, 3)`` and ``(H, W)``.

    Attributes:
        format: name of its reader.
        split: "train", "val" or "test".
        labels: names and colours of the classes, or None where the data has no names.
        id_map: from what the masks store to class ids; None where the data does not say, and `open_dataset` does.
        unpaired: a line for each image without a mask, and the reverse; such files are in no item.
    """

    format: str
    split: str
    labels: LabelSet | None
    id_map: IdMap | None
    unpaired: list[str] = field(default_factory=list, kw_only=True)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """``(H, W, 3)`` uint8."""

    @abstractmethod
    def mask(self, index: int) -> np.ndarray:
        """What is stored, before the id map: ``(H, W)`` integers or ``(H, W, 3)`` uint8 colours."""

    @abstractmethod
    def image_name(self, index: int) -> str:
        """For messages."""

    @abstractmethod
    def mask_name(self, index: int) -> str:
        """For messages, and for the receipt's digest."""

    def storage(self, index: int) -> Storage:
        """How a mask that can be read is stored."""
        return Storage()

    def is_turned_unseen(self, index: int) -> bool:
        """Of an image that can be read: see `srzoo.images.is_turned_unseen`."""
        return False

    def mask_bytes(self, index: int) -> bytes:
        """What the receipt's digest is taken of."""
        return self.ids(index).tobytes()

    def ids(self, index: int) -> np.ndarray:
        """``(H, W)`` uint8 class ids, 255 for void.

        Raises:
            ValueError: the mask cannot be read, or stores what the id map does not know.
        """
        return self.id_map(self.mask(index), self.mask_name(index))

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, ids = self.image(index), self.ids(index)
        if image.shape[:2] != ids.shape:
            raise ValueError(self.size_mismatch(index, image, ids))
        return image, ids

    def size_mismatch(self, index: int, image: np.ndarray, mask: np.ndarray) -> str:
        """The words for an image and a mask of different size."""
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (image.shape, mask.shape)]
        turned = image.shape[:2] == mask.shape[1::-1]
        advice = "one of them is turned: see the image's EXIF orientation" if turned else "they must be of one size"
        return f"{self.image_name(index)} is {sizes[0]}, its mask {self.mask_name(index)} {sizes[1]}; {advice}"


@dataclass
class FilePairs(SegmentationData):
    """A split of image and mask files.

    Attributes:
        pairs: the paths of an image and of its mask.
    """

    pairs: list[tuple[Path, Path]]

    def __len__(self) -> int:
        return len(self.pairs)

    def image(self, index: int) -> np.ndarray:
        return np.array(read_image(self.pairs[index][0]))

    def mask(self, index: int) -> np.ndarray:
        return read_mask(self.pairs[index][1], as_colours=self.id_map is not None and self.id_map.has_colours)

    def image_name(self, index: int) -> str:
        return str(self.pairs[index][0])

    def mask_name(self, index: int) -> str:
        return str(self.pairs[index][1])

    def storage(self, index: int) -> Storage:
        with Image.open(self.pairs[index][1]) as image:
            return storage_of(image)

    def is_turned_unseen(self, index: int) -> bool:
        with Image.open(self.pairs[index][0]) as image:
            return is_turned_unseen(image)

    def mask_bytes(self, index: int) -> bytes:
        return self.pairs[index][1].read_bytes()
