"""A Hugging Face `datasets.Dataset` with a column of images and one of masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL.Image import DecompressionBombError

from ...images import DECODER_ERRORS, ImageError, is_turned_unseen, to_rgb
from ...labels import LabelSet
from ..files import SPLIT_NAMES, NoSplit, hold_out
from ..masks import Storage, mask_array, storage_of
from ..samples import SegmentationData

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image

LAYOUT = "a folder that `save_to_disk` wrote, or the name of a data set on the hub"

_IMAGE_COLUMNS = ("image", "pixel_values", "img")
_MASK_COLUMNS = ("mask", "label", "labels", "annotation", "segmentation", "segmentation_mask", "semantic_mask")


@dataclass
class RowPairs(SegmentationData):
    """A split whose images and masks are two columns of a `datasets.Dataset`.

    Attributes:
        images, masks: the data set with one of the columns, so that reading one decodes one.
        columns: their names.
    """

    images: Dataset
    masks: Dataset
    columns: tuple[str, str]

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        return np.array(to_rgb(self._read(self.images, index, 0), self.image_name(index)))

    def mask(self, index: int) -> np.ndarray:
        as_colours = self.id_map is not None and self.id_map.has_colours
        return mask_array(self._read(self.masks, index, 1), self.mask_name(index), as_colours)

    def storage(self, index: int) -> Storage:
        return storage_of(self._read(self.masks, index, 1))

    def is_turned_unseen(self, index: int) -> bool:
        return is_turned_unseen(self._read(self.images, index, 0))

    def _read(self, rows: Dataset, index: int, place: int) -> Image:
        """What a row has in one of the columns.

        Raises:
            ImageError: no image, or one that cannot be read.
        """
        name = (self.image_name, self.mask_name)[place](index)
        try:
            image = rows[index][self.columns[place]]
        except (*DECODER_ERRORS, DecompressionBombError) as error:
            raise ImageError(f"{name}: cannot be read ({error})") from error
        if image is None:
            raise ImageError(f"{name}: there is none")
        return image

    def image_name(self, index: int) -> str:
        return f"row {index} of {self.split}, column {self.columns[0]!r}"

    def mask_name(self, index: int) -> str:
        return f"row {index} of {self.split}, column {self.columns[1]!r}"


def from_dataset(
    dataset: Dataset,
    split: str = "train",
    image: str | None = None,
    mask: str | None = None,
    labels: LabelSet | None = None,
) -> RowPairs:
    """Rows of a data set in memory as a split.

    Args:
        dataset: with two columns of the feature `datasets.Image`.
        image, mask: their names; default the usual ones.

    Raises:
        ValueError: there are no such columns.
    """
    from datasets import Image

    columns = [name for name, feature in dataset.features.items() if isinstance(feature, Image)]
    image = image or next((name for name in _IMAGE_COLUMNS if name in columns), None)
    mask = mask or next((name for name in _MASK_COLUMNS if name in columns), None)
    if image not in columns or mask not in columns:
        raise ValueError(
            f"expected a column of images ({', '.join(_IMAGE_COLUMNS)}) and one of masks ({', '.join(_MASK_COLUMNS)}), "
            f"the data set's image columns are {columns}"
        )
    images, masks = dataset.select_columns(image), dataset.select_columns(mask)
    return RowPairs("huggingface", split, labels, None, images, masks, (image, mask))


def matches(root: Path) -> bool:
    return (root / "dataset_dict.json").is_file() or (root / "dataset_info.json").is_file()


def read(root: Path, split: str) -> RowPairs:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise RuntimeError("this format needs the package 'datasets': pip install 'srzoo[data]'") from error
    content = datasets.load_from_disk(root) if root.is_dir() else datasets.load_dataset(root.as_posix())
    splits = content if isinstance(content, dict) else {"train": content}
    found = {each: next((splits[name] for name in SPLIT_NAMES[each] if name in splits), None) for each in SPLIT_NAMES}
    if split != "test" and found["val"] is None and found["train"] is not None:
        rows = found["train"]
        return from_dataset(rows.select(hold_out(len(rows), split, root)), split)
    if found[split] is None:
        raise NoSplit(f"{root} has no split {' or '.join(map(repr, SPLIT_NAMES[split]))}, only {', '.join(splits)}")
    return from_dataset(found[split], split)
