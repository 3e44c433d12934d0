"""What every reader returns: a split of named images with their annotations."""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..images import has_hidden_rotation, read_image
from ..labels import IGNORE, LabelSet
from .bands import RGB, as_bands
from .files import name_bytes
from .georeference import has_many_bands
from .masks import ARRAYS, IdMap, Storage, read_mask, storage_of
from .objects import Examined, InstanceSample, Objects, PanopticSample, Segment, examined
from .reading import Reading

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass
class ImageData(ABC):
    """A split of a dataset, for any task: item ``i`` is a tuple whose first element is the image.

    Attributes:
        format: name of its reader.
        split: "train", "val" or "test".
        labels: names and colours of the classes, or None if the dataset does not name them.
        unpaired: a line for each image without an annotation, and the reverse; no item contains such files.
        doubts: a line for what is wrong with the annotations as a whole, although they can be read.
        is_whole: whether the dataset has no split for validation, so that these images are those of train and val
            together; `open_dataset` selects from them.
        reading: how the files are read, if `open_dataset` read them.
        new_ids: the id in ``labels``, and in items, of each class id of the files, which `renumbered` sets; None if
            they are the same.
        channels: of the images: 3 for 8-bit RGB; another number, which is set for a model that takes it, for float32 in
            0..255, see `srzoo.data.bands`.
    """

    PER_IMAGE: ClassVar[tuple[str, ...]] = ()  # a class's own fields that have an element for each image

    format: str
    split: str
    labels: LabelSet | None
    unpaired: list[str] = field(default_factory=list, kw_only=True)
    doubts: list[str] = field(default_factory=list, kw_only=True)
    is_whole: bool = field(default=False, kw_only=True)
    reading: Reading = field(default_factory=Reading, kw_only=True)
    channels: int = field(default=RGB, kw_only=True)
    new_ids: tuple[int, ...] | None = field(default=None, kw_only=True)

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def __getitem__(self, index: int) -> tuple:
        """The image, as of `image`, and its annotation.

        Raises:
            ValueError: the image or its annotation cannot be read.
        """

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """``(H, W, 3)`` uint8, or ``(H, W, channels)`` float32 in 0..255.

        Raises:
            ImageError: the image cannot be read.
        """

    def classes_in(self, index: int) -> set[int]:
        """The classes that occur in an image, as their ids in ``labels``, of its annotation alone.

        Raises:
            ValueError: the annotation cannot be read, or is not of classes.
        """
        raise ValueError(f"the annotations of {self.format} data are not of classes; leave out repeat_threshold")

    @cached_property
    def classes_by_image(self) -> list[set[int]]:
        """`classes_in` of every image. On a large set that takes minutes, so it is kept; raises as `classes_in`."""
        indices = tqdm(range(len(self)), desc="classes", unit="image", leave=False, delay=1, disable=None)
        return [self.classes_in(index) for index in indices]

    @abstractmethod
    def image_name(self, index: int) -> str:
        """Name of an image, for messages: its path if it is a file."""

    @abstractmethod
    def target_name(self, index: int) -> str:
        """Name of an image's annotation, for messages and for `digest`."""

    @abstractmethod
    def target_bytes(self, index: int) -> bytes:
        """Bytes that change whenever the annotation does; `digest` is taken of them."""

    @abstractmethod
    def files(self) -> list[Path]:
        """Every file of the split; none of them may be overwritten."""

    def select(self, indices: Sequence[int]) -> Self:
        """A split of some of the images, in this order."""
        names = {name for cls in type(self).__mro__ for name in vars(cls).get("PER_IMAGE", ())}
        selected = replace(self, **{name: [getattr(self, name)[i] for i in indices] for name in names})
        if len(selected) != len(indices):
            raise TypeError(f"{type(self).__name__}.PER_IMAGE must name the fields that have an element for each image")
        return selected

    def renumbered(self, order: Sequence[int]) -> Self:
        """The split with its classes in another order; ``order`` has the present id of each.

        Items have the new ids. What checks and `digest` read, such as `target_bytes`, is of the files, and stays.
        """
        now = range(len(order)) if self.new_ids is None else self.new_ids
        return replace(self, labels=self.labels.reordered(order), new_ids=tuple(order.index(i) for i in now))

    def has_hidden_rotation(self, index: int) -> bool:
        """`srzoo.images.has_hidden_rotation` of an image that can be read."""
        return False

    def size_mismatch(self, index: int, image: np.ndarray, size: tuple[int, ...], what: str = "mask") -> str:
        """The error message for an image ``(H, W, 3)`` whose annotation is for another ``(H, W, ...)``."""
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (image.shape, size)]
        if image.shape[:2] == tuple(size[1::-1]):
            advice = (
                "one of them is rotated: see the image's EXIF orientation. Images are read as they are shown, so "
                "rotate the annotation, or store the image as it was annotated, without the tag"
            )
        else:
            advice = "they must be of one size"
        return f"{self.image_name(index)} is {sizes[0]}, its {what}{self._target_beside(index)} {sizes[1]}; {advice}"

    def _target_beside(self, index: int) -> str:
        """What names an image's annotation after the image's name, with a space before it; may be empty."""
        target = self.target_name(index)
        return "" if target.startswith(f"{self.image_name(index)}: ") else f" {target}"

    def image_names(self) -> list[str]:
        """`image_name` of every image, in order."""
        return [self.image_name(index) for index in range(len(self))]

    def identity(self) -> dict[str, object]:
        """What tells this split from another, wherever it is stored: its classes and the names of its images.

        A checkpoint stores it, and a run resumes only on data of equal identity.
        """
        names = [Path(name).name for name in self.image_names()]
        return {
            "classes": list(self.labels.classes) if self.labels else None,
            "images": len(names),
            "names_sha256": hashlib.sha256(name_bytes("\n".join(names))).hexdigest(),
        }

    def digest(self) -> str:
        """SHA-256 of the annotations' file names and bytes, in hexadecimal.

        Raises:
            ValueError: an annotation cannot be read.
        """
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(name_bytes(Path(self.target_name(index)).name))
            digest.update(self.target_bytes(index))
        return digest.hexdigest()

    def facts(self) -> dict[str, object]:
        """What a receipt states about the split: what was read, and how. Raises as `digest`."""
        return {
            "dataset": self.format,
            "split": self.split,
            "images": len(self),
            "split_sha256": self.digest(),
            "id_map": None,
        }

    def arguments(self, root: str = "PATH") -> list[str]:
        """The command line options that open this split again; ``root`` stands for its folder."""
        return [*replace(self.reading, format=self.format).arguments(root), "--split", self.split]


class ImageFiles(ImageData):
    """A split whose images are files."""

    @abstractmethod
    def image_file(self, index: int) -> Path:
        """Path of an image."""

    def image_source(self, index: int) -> Path | io.BytesIO:
        """What is read as an image: its file, or its content, with the file's name, if it is a part of the file."""
        return self.image_file(index)

    def image(self, index: int) -> np.ndarray:
        source = self.image_source(index)
        if self.channels == RGB and self.image_file(index).suffix.lower() in ARRAYS:
            return as_bands(source, RGB).round().astype(np.uint8)
        return np.array(read_image(source)) if self.channels == RGB else as_bands(source, self.channels)

    def image_name(self, index: int) -> str:
        return str(self.image_file(index))

    def has_hidden_rotation(self, index: int) -> bool:
        if self.image_file(index).suffix.lower() in ARRAYS or has_many_bands(self.image_file(index)):
            return False
        with Image.open(self.image_source(index)) as image:
            return has_hidden_rotation(image)

    def files(self) -> list[Path]:
        return [self.image_file(index) for index in range(len(self))]


@dataclass
class PairedFiles(ImageFiles):
    """A split whose images and annotations are files.

    Attributes:
        pairs: the paths of an image and of its annotation.
    """

    PER_IMAGE: ClassVar = ("pairs",)

    pairs: list[tuple[Path, Path]]

    def __len__(self) -> int:
        return len(self.pairs)

    def image_file(self, index: int) -> Path:
        return self.pairs[index][0]

    def target_name(self, index: int) -> str:
        return str(self.pairs[index][1])

    def target_bytes(self, index: int) -> bytes:
        return self.pairs[index][1].read_bytes()

    def files(self) -> list[Path]:
        return [path for pair in self.pairs for path in pair]


class SemanticSample(NamedTuple):
    """An image and its class ids.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        ids: ``(H, W)`` uint8 class ids, 255 for void.
    """

    image: np.ndarray
    ids: np.ndarray


@dataclass
class SemanticData(ImageData):
    """A split of images with a mask of class ids each: item ``i`` is a `SemanticSample`.

    Attributes:
        id_map: from the values in masks to class ids; None until `open_dataset` sets it if the format has none.
        is_map_given: whether the user gave the id map, rather than the format or its default.
    """

    id_map: IdMap | None
    is_map_given: bool = field(default=False, kw_only=True)

    @abstractmethod
    def mask(self, index: int) -> np.ndarray:
        """The stored values, before the id map: ``(H, W)`` integers or ``(H, W, 3)`` uint8 colours.

        Raises:
            ValueError: the mask cannot be read.
        """

    def examine(self, index: int) -> Examined:
        """What a mask contains, as `mask` returns it, and what is wrong with it."""
        return examined(self.mask, index)

    def storage(self, index: int) -> Storage:
        """How a mask that can be read is stored."""
        return Storage()

    def target_bytes(self, index: int) -> bytes:
        return self.ids(index).tobytes()

    def ids(self, index: int) -> np.ndarray:
        """``(H, W)`` uint8 class ids, 255 for void.

        Raises:
            ValueError: the mask cannot be read, or contains a value that is not in the id map.
        """
        return self.id_map(self.mask(index), self.target_name(index))

    def classes_in(self, index: int) -> set[int]:
        return set(np.unique(self._in_order(self.ids(index))).tolist()) - {IGNORE}

    def __getitem__(self, index: int) -> SemanticSample:
        image, ids = self.image(index), self._in_order(self.ids(index))
        if image.shape[:2] != ids.shape and self.reading.resize_masks:
            size = image.shape[1::-1]
            ids = np.array(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))
        if image.shape[:2] != ids.shape:
            raise ValueError(self.size_mismatch(index, image, ids.shape))
        return SemanticSample(image, ids)

    def _in_order(self, ids: np.ndarray) -> np.ndarray:
        """The ids of ``labels`` for class ids of the files, ``(H, W)`` uint8."""
        if self.new_ids is None:
            return ids
        table = np.arange(IGNORE + 1, dtype=np.uint8)
        table[: len(self.new_ids)] = self.new_ids
        return table[ids]

    def identity(self) -> dict[str, object]:
        """That of `ImageData`, and the id map."""
        id_map = sorted([str(key), class_id] for key, class_id in self.id_map.mapping.items())
        return {**super().identity(), "id_map": id_map}

    def facts(self) -> dict[str, object]:
        """That of `ImageData`, and the id map if the user gave it. Raises as `digest`."""
        return {**super().facts(), "id_map": self.id_map.to_yaml() if self.is_map_given else None}


@dataclass
class FilePairs(PairedFiles, SemanticData):
    """A split of image files and mask files."""

    def mask(self, index: int) -> np.ndarray:
        return read_mask(self.pairs[index][1], as_colours=self.id_map is not None and self.id_map.has_colours)

    def storage(self, index: int) -> Storage:
        if self.pairs[index][1].suffix.lower() in ARRAYS:
            return Storage()
        with Image.open(self.pairs[index][1]) as image:
            return storage_of(image)


@dataclass
class _Categorized(ImageData):
    """A split whose annotations refer to classes and images by ids of their own.

    Attributes:
        category_ids: the dataset's own id of each class, in order of class id: results files have these.
        image_ids: the dataset's own id of each image.
    """

    PER_IMAGE: ClassVar = ("image_ids",)

    category_ids: tuple[int, ...]
    image_ids: list

    def renumbered(self, order: Sequence[int]) -> Self:
        """That of `ImageData`, with the dataset's own ids in the same order."""
        return replace(super().renumbered(order), category_ids=tuple(self.category_ids[i] for i in order))

    def identity(self) -> dict[str, object]:
        """That of `ImageData`, and the categories' ids."""
        return {**super().identity(), "category_ids": list(self.category_ids)}


@dataclass
class InstanceData(_Categorized):
    """A split of images with objects: item ``i`` is an `InstanceSample`.

    A subclass has `objects`; one that can tell more about a bad annotation than its first mistake has `examine`, too.
    """

    @abstractmethod
    def objects(self, index: int) -> Objects:
        """The objects of an image, without those that have no pixel.

        Raises:
            ValueError: the annotation cannot be read.
        """

    def examine(self, index: int) -> Examined:
        """What an annotation contains, and all that is wrong with it."""
        return examined(self.objects, index)

    def classes_in(self, index: int) -> set[int]:
        return set(self._in_order(self.objects(index)).classes.tolist())

    def __getitem__(self, index: int) -> InstanceSample:
        image, objects = self.image(index), self.objects(index)
        if image.shape[:2] != objects.size:
            raise ValueError(self.size_mismatch(index, image, objects.size, "annotation"))
        return InstanceSample(image, self._in_order(objects))

    def _in_order(self, objects: Objects) -> Objects:
        """The objects with the ids of ``labels``."""
        if self.new_ids is None:
            return objects
        return replace(objects, classes=np.array(self.new_ids)[objects.classes])


@dataclass
class PanopticData(_Categorized):
    """A split of images that are divided into segments: item ``i`` is a `PanopticSample`.

    Its labels have `LabelSet.things`. A subclass has `segments`, and maybe `examine`, as one of `InstanceData`.
    """

    @abstractmethod
    def segments(self, index: int) -> tuple[np.ndarray, list[Segment]]:
        """``(H, W)`` int32 ids of segments, 0 for void, and the segments that have a pixel.

        Raises:
            ValueError: the annotation cannot be read.
        """

    def examine(self, index: int) -> Examined:
        """What an annotation contains, and all that is wrong with it."""
        return examined(self.segments, index)

    def classes_in(self, index: int) -> set[int]:
        return {each.class_id for each in self._in_order(self.segments(index)[1])}

    def __getitem__(self, index: int) -> PanopticSample:
        image, (ids, segments) = self.image(index), self.segments(index)
        if image.shape[:2] != ids.shape:
            raise ValueError(self.size_mismatch(index, image, ids.shape, "annotation"))
        return PanopticSample(image, ids, self._in_order(segments))

    def _in_order(self, segments: list[Segment]) -> list[Segment]:
        """The segments with the ids of ``labels``."""
        if self.new_ids is None:
            return segments
        return [each._replace(class_id=self.new_ids[each.class_id]) for each in segments]
