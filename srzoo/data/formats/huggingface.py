"""A Hugging Face `datasets.Dataset` with a column of images and one of masks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...images import ImageError, decoding, has_hidden_rotation, to_rgb
from ...labels import LabelSet
from ...messages import importing, one_line
from ..bands import RGB, as_bands
from ..class_files import find_classes
from ..files import SPLIT_NAMES, NoSplit
from ..masks import Storage, mask_array, storage_of
from ..roles import split_of, words
from ..samples import SemanticData
from .format import Format

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image

_IMAGE_COLUMNS = ("image", "pixel_values", "img")
_MASK_COLUMNS = ("mask", "label", "labels", "annotation", "segmentation", "segmentation_mask", "semantic_mask")
_PART = re.compile(r"(\w+)-\d{5}-of-\d{5}")  # of a split, as the hub names its files


@dataclass
class RowPairs(SemanticData):
    """A split whose images and masks are two columns of a `datasets.Dataset`.

    Attributes:
        images, masks: the rows with one of the columns only, so that reading one does not decode the other.
        columns: the names of the two.
    """

    images: Dataset
    masks: Dataset
    columns: tuple[str, str]

    def __len__(self) -> int:
        return len(self.images)

    def select(self, indices: Sequence[int]) -> RowPairs:
        return replace(self, images=self.images.select(indices), masks=self.masks.select(indices))

    def image(self, index: int) -> np.ndarray:
        image, name = self._read(self.images, index, 0), self.image_name(index)
        with decoding(name):
            return np.array(to_rgb(image, name)) if self.channels == RGB else as_bands(image, self.channels)

    def mask(self, index: int) -> np.ndarray:
        as_colours = self.id_map is not None and self.id_map.has_colours
        mask, name = self._read(self.masks, index, 1), self.target_name(index)
        with decoding(name):
            return mask_array(mask, name, as_colours)

    def storage(self, index: int) -> Storage:
        return storage_of(self._read(self.masks, index, 1))

    def has_hidden_rotation(self, index: int) -> bool:
        return has_hidden_rotation(self._read(self.images, index, 0))

    def _read(self, rows: Dataset, index: int, place: int) -> Image:
        """The image in a row, from the first column or the second (``place`` 0 or 1).

        Raises:
            ImageError: there is no image, or it cannot be read.
        """
        name = (self.image_name, self.target_name)[place](index)
        with decoding(name):
            image = rows[index][self.columns[place]]
        if image is None:
            raise ImageError(f"{name}: there is no image")
        return image

    def image_name(self, index: int) -> str:
        return f"row {index} of {self.split}, column {self.columns[0]!r}"

    def target_name(self, index: int) -> str:
        return f"row {index} of {self.split}, column {self.columns[1]!r}"

    def _target_beside(self, index: int) -> str:
        return f" in column {self.columns[1]!r}"

    def files(self) -> list[Path]:
        return [Path(file["filename"]) for rows in (self.images, self.masks) for file in rows.cache_files]


def from_dataset(
    dataset: Dataset,
    split: str = "train",
    image: str | None = None,
    mask: str | None = None,
    labels: LabelSet | None = None,
) -> RowPairs:
    """The rows of a `datasets.Dataset` as a split.

    Args:
        dataset: with two columns of the feature `datasets.Image`.
        split: what to call it: "train", "val" or "test".
        image, mask: names of the columns; by default the first of the usual ones.
        labels: names and colours of the classes, if known.

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
            f"the dataset's image columns are {columns}"
        )
    images, masks = dataset.select_columns(image), dataset.select_columns(mask)
    return RowPairs(HuggingFace.name, split, labels, None, images, masks, (image, mask))


class HuggingFace(Format):
    name = "huggingface"
    layout = "a folder that `save_to_disk` wrote, one of Parquet files, or the name of a dataset on the hub"
    tasks = ("semantic",)

    def matches(self, root: Path) -> bool:
        is_saved = (root / "dataset_dict.json").is_file() or (root / "dataset_info.json").is_file()
        return is_saved or bool(_tables(root))

    def read(self, root: Path, split: str, task: str = "semantic") -> RowPairs:
        with importing("this format needs", "'srzoo[data]'"):
            import datasets
        is_saved = (root / "dataset_dict.json").is_file() or (root / "state.json").is_file()
        try:
            if not is_saved and (tables := _tables(root)):
                # by name: of a folder the package takes whatever files are the most
                content = datasets.load_dataset("parquet", data_files=tables)
            else:
                content = datasets.load_from_disk(root) if root.is_dir() else datasets.load_dataset(root.as_posix())
        except (datasets.exceptions.DatasetGenerationError, ValueError) as error:  # pyarrow's are ValueErrors
            raise ValueError(f"{root} cannot be read by the package 'datasets': {one_line(error)}") from error
        classes = find_classes([root])
        labels, id_map = (classes.labels(), classes.id_map(as_colours=False)) if classes else (None, None)
        splits = content if isinstance(content, dict) else {"train": content}
        found = {
            each: next((splits[name] for name in SPLIT_NAMES[each] if name in splits), None) for each in SPLIT_NAMES
        }
        if split != "test" and found["val"] is None and found["train"] is not None:
            return replace(from_dataset(found["train"], split, labels=labels), id_map=id_map, is_whole=True)
        if found[split] is None:
            raise NoSplit(f"{root} has no split {split!r}, only {', '.join(splits)}")
        return replace(from_dataset(found[split], split, labels=labels), id_map=id_map)


def _tables(root: Path) -> dict[str, list[str]]:
    """The Parquet files of each split in a folder, as a clone of a dataset on the hub has them.

    Files whose names tell no split are those of train if there are no others.
    """
    paths = next((found for folder in (root / "data", root) if (found := sorted(folder.glob("*.parquet")))), [])
    tables: dict[str | None, list[str]] = defaultdict(list)
    for path in paths:
        part = _PART.match(path.name)
        split = part[1] if part else next(filter(None, map(split_of, words(path.stem))), None)
        tables[split].append(escape(str(path)))  # the package takes patterns
    others = tables.pop(None, [])
    return dict(tables) or ({"train": others} if others else {})
