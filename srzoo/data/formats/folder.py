"""A folder of images and one of masks, whatever they are called, see `srzoo.data.pairing`; or two patterns of files.

The masks have ids or colours of classes or, for instances, ids of objects. A file such as ``classes.txt``, with a name
per line, names the classes, see `srzoo.data.class_files`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...images import SUFFIXES, opened
from ...labels import IGNORE, LabelSet
from ...labels.own import own_labels
from ...messages import and_more, shortened
from ..class_files import BACKGROUND, VOID, Classes, find_classes
from ..files import SPLIT_NAMES, NoSplit, pair, read_lines, read_names
from ..masks import IdMap, pack, read_mask, read_object_ids, storage_of
from ..objects import Objects, areas_of, found_in
from ..pairing import MASK_SUFFIXES, Pairs, find_pairs, pair_files
from ..samples import FilePairs, InstanceData, PairedFiles
from ..shapes import BACKGROUND_NAME
from ..survey import survey
from .format import Format
from .several_masks import ClassMasks, ObjectMasks, SeveralMasks

_MANY = 4096  # a mask with more ids than this does not hold object ids
_PEEKED = 8  # masks that are read to see whether they store ids or colours
_LISTS = (
    "{}.txt",
    "ImageSets/Segmentation/{}.txt",
    "ImageSets/{}.txt",
    "ImageSets/2017/{}.txt",
    "splits/{}.txt",
    "ImageSets/Main/{}.txt",
)


@dataclass
class FolderObjects(PairedFiles, InstanceData):
    """A split of images with masks of object ids, all of one class: 0 is the background.

    In 8 bits 255 is void, unless the mask has every id from 1 to 254: then it is the last of 255 objects.
    """

    def objects(self, index: int) -> Objects:
        path = self.pairs[index][1]
        ids = read_object_ids(path)
        values = [value for value in areas_of(ids) if value]
        if ids.itemsize == 1 and len(values) < IGNORE:
            values = [value for value in values if value != IGNORE]
        if not values and (ids == IGNORE).any() and (ids == 0).any():
            raise ValueError(
                f"{path}: the mask holds 0 and 255 alone: drawn in black and white, it does not tell objects apart; "
                "expected 1, 2, ... for them"
            )
        if len(values) > _MANY:
            raise ValueError(
                f"{path}: {len(values)} different ids, at most {_MANY} are expected: a photograph, or a mask that was "
                "resized with interpolation"
            )
        return Objects.of(ids.shape, found_in(ids, dict.fromkeys(values, (0, False))))


class Folder(Format):
    name = "folder"
    layout = (
        "images/ and masks/, or names like imgs/ and labels/, train_images/ and train_masks/, x.jpg and x_mask.png, "
        "split by train.txt and val.txt, by folders train/ and val/ anywhere, or else by srzoo"
    )
    tasks = ("semantic", "instance")

    def matches(self, root: Path) -> bool:
        if any((base / "masks").is_dir() and (base / "images").is_dir() for base in (root, root / "train")):
            return True
        return len(find_pairs(root)) > 0

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs | FolderObjects:
        return self._data(find_pairs(root, "objects" if task == "instance" else "mask"), root, split, task)

    def _data(
        self, found: Pairs, root: Path, split: str, task: str, may_have_lists: bool = True
    ) -> FilePairs | FolderObjects:
        if not found:
            raise NoSplit(f"{root} has no images with masks: {survey(root)}")
        _refuse_channels(found)
        found, may_have_lists, said = _splits(found, root, may_have_lists)
        pairs, unpaired, is_whole = in_split(found, root, split, may_have_lists)
        others = said
        if found.others:
            others.append(
                f"the masks {found.masks} are read, and {and_more(found.others, 3)} are not; choose with --data.images "
                "and --data.masks"
            )
        if found.spare:
            others.append(f"{len(found.spare)} pictures beside the images are not read, such as {found.spare[0]}")
        if task == "instance":
            names = [image.stem for image, _ in pairs]
            own = (ObjectMasks, [found.more]) if found.more else (FolderObjects, [])
            return own[0](
                self.name,
                split,
                _object_labels(root, classes_of(found, root)),
                (1,),
                names,
                pairs,
                *own[1],
                unpaired=unpaired,
                doubts=others,
                is_whole=is_whole,
            )
        if found.class_of:
            return _class_masks(found, split, pairs, unpaired=unpaired, doubts=others, is_whole=is_whole)
        labels, id_map, doubts = meaning(classes_of(found, root), pairs)
        make, more = (SeveralMasks, [found.more]) if found.more else (FilePairs, [])
        doubts = [*doubts, *others]
        return make(self.name, split, labels, id_map, pairs, *more, unpaired=unpaired, doubts=doubts, is_whole=is_whole)


def _class_masks(found: Pairs, split: str, pairs: list, **how: Any) -> ClassMasks:
    """The masks of several classes, which their folders or the ends of their names tell."""
    names = [name for name in dict.fromkeys(found.class_of.values()) if name.lower() not in BACKGROUND]
    class_ids = {name: i for i, name in enumerate(names, 1)}
    labels = own_labels([BACKGROUND_NAME, *names], found.masks)
    class_of = {path: class_ids.get(name, 0) for path, name in found.class_of.items()}
    how["doubts"] = [
        f"each image has masks of several classes: {and_more(names, 8)}; where they overlap, the last of these is read",
        *how["doubts"],
    ]
    id_map = IdMap({i: i for i in [*range(len(labels.classes)), IGNORE]})
    return ClassMasks(Folder.name, split, labels, id_map, pairs, found.more, class_of, **how)


@dataclass(frozen=True)
class FilePatterns(Folder):
    """The files that two patterns name, such as ``photos/**/*.jpg``."""

    images: str
    masks: str

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs | FolderObjects:
        images, masks = (
            [path for path in sorted(root.glob(pattern)) if path.suffix.lower() in suffixes]
            for pattern, suffixes in ((self.images, SUFFIXES | {".npy"}), (self.masks, MASK_SUFFIXES))
        )
        for pattern, files in ((self.images, images), (self.masks, masks)):
            if not files:
                raise ValueError(f"{root} has no image files {pattern!r}; give a pattern as in 'photos/**/*.jpg'")
        found = pair_files(images, [path for path in masks if path not in set(images)], root)
        if not found:
            raise ValueError(
                f"none of the {len(masks)} masks {self.masks!r} has the name of one of the {len(images)} images "
                f"{self.images!r}: {masks[0].name}, {images[0].name}"
            )
        return self._data(found, root, split, task)


def _refuse_channels(found: Pairs) -> None:
    """Raises ValueError if each image lies in several files, one for each channel, as nnU-Net has them."""
    paired = {image for each in found.by_split.values() for image, _ in each}
    for image in sorted(path for alone in found.alone.values() for path in alone[0]):
        channel = re.fullmatch(r"(.+_)(\d{4})", image.stem)
        first = channel and image.with_stem(f"{channel[1]}0000")
        if first in paired:
            raise ValueError(
                f"{image} and {first.name} have one mask: if they are channels of one image, write them into one file, "
                "such as TIFF, for a model with in_channels; else give each a mask"
            )


def _splits(found: Pairs, root: Path, may_have_lists: bool) -> tuple[Pairs, bool, list[str]]:
    """The pairs, whether files list their splits, and a line where these lists, or folders of splits, are passed over.

    Lists that name none of the images are of another version of the data, such as tiles that are still to be cut. Where
    test alone has masks, it is the whole.
    """
    lists = [path for name in SPLIT_NAMES if may_have_lists and (path := _split_list(root, name))]
    stems = {path.stem for each in found.by_split.values() for pair in each for path in pair}
    stems |= {image.parent.name for each in found.by_split.values() for image, _ in each}
    stems |= {path.stem for alone in found.alone.values() for path in alone[0]}
    if lists and stems.isdisjoint(name for path in lists for name in read_names(path, stems)):
        name = next(iter(read_names(lists[0], stems)), "nothing")
        return found, False, [f"{lists[0]} names none of the images, but {shortened(name)}, and is not read"]
    if not lists and set(found.by_split) == {"test"}:
        by_split, alone = {None: found.by_split["test"]}, defaultdict(found.alone.default_factory)
        alone[None] = found.alone["test"]
        return (
            replace(found, by_split=by_split, alone=alone),
            False,
            ["only test has masks, so it is read as the whole"],
        )
    return found, may_have_lists, []


def in_split(
    found: Pairs, root: Path, split: str, may_have_lists: bool = True
) -> tuple[list[tuple[Path, Path]], list[str], bool]:
    """The pairs of a split, a line for each file without a partner, and whether the dataset has no split for val.

    If so, the pairs for "train" and "val" are the same, and some are to be held out. ``may_have_lists`` is whether
    files such as ``train.txt`` name the images of a split.

    Raises:
        NoSplit: there is no such split.
    """
    lists = {name: path for name in SPLIT_NAMES if may_have_lists and (path := _split_list(root, name))}
    names = set(lists) or set(found.by_split) - {None}
    is_whole = "val" not in names and split != "test"
    if split not in names and not is_whole:
        raise NoSplit(f"{root} has no split {split!r}: no {split}.txt and no folder {split}/ with images and masks")
    if is_whole:
        split = "train" if "train" in names else None
    if lists and split:
        return *_listed(found, lists[split]), is_whole
    alone = found.alone[split]
    lines = [f"{path} has no {lack}" for paths, lack in zip(alone, ("mask", "image")) for path in paths]
    return found.by_split[split], lines, is_whole


def _listed(found: Pairs, path: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    images, masks = {}, {}
    for pairs in found.by_split.values():
        for image, mask in pairs:
            images[image.stem], masks[image.stem] = image, mask
    every = [pair for pairs in found.by_split.values() for pair in pairs]
    folders = {image.parent.name for image, _ in every}
    names = {*read_names(path, {*images, *folders})}
    if names <= folders and not names & images.keys():  # of videos, such as those of DAVIS
        return [(image, mask) for image, mask in every if image.parent.name in names], []
    for alone in found.alone.values():
        images |= {image.stem: image for image in alone[0] if image.stem not in images}
        masks |= {mask.stem: mask for mask in alone[1] if mask.stem not in masks}
    return pair(images, masks, read_names(path, {*images, *masks}))


def _split_list(root: Path, split: str) -> Path | None:
    """The file that lists a split."""
    paths = [root / pattern.format(name) for pattern in _LISTS for name in SPLIT_NAMES[split]]
    return next((path for path in paths if path.is_file()), None)


def classes_of(found: Pairs, root: Path) -> Classes | None:
    """The classes that a file in the folder names, or in those of images and masks, or in between.

    Raises:
        ValueError: ``classes.txt`` is not UTF-8.
    """
    files = [next(iter(pairs)) for pairs in found.by_split.values() if pairs]
    folders = [root, *(folder for pair in files for path in pair for folder in path.parents if root in folder.parents)]
    return find_classes(folders)


def meaning(
    classes: Classes | None, pairs: Sequence[tuple[Path, Path]]
) -> tuple[LabelSet | None, IdMap | None, list[str]]:
    """Names and colours of the classes, the id map of their masks, whether these store ids or colours, and doubts.

    Raises:
        ValueError: the classes cannot be used.
    """
    if classes is None:
        return None, None, []
    labels, doubts = classes.labels(), []
    if shifted := _counted_from_0(classes, pairs):
        classes = shifted
        doubts = [
            f"{classes.path} has 0 for {classes.names[0]}, but the masks have 255: their values are read as one less "
            "than those of the file; pass --data.id_map if they are not"
        ]
    kind = _stored_as(classes, pairs)
    if kind is None:
        return None, None, [f"{classes.path} names classes, but most masks have neither their colours nor their ids"]
    palette = _palette(pairs) if kind == "ids" and classes.colours is None else {}
    ids = classes.values or range(len(classes.names))
    own = {class_id: palette[value] for value, class_id in zip(ids, classes.ids) if value in palette}
    colours = [own[i] for i in range(len(labels.classes)) if i in own]
    if len({*colours}) == len(labels.classes):
        labels = LabelSet(labels.classes, tuple(colours))
    return labels, classes.id_map(as_colours=kind == "colours"), doubts


def _counted_from_0(classes: Classes, pairs: Sequence[tuple[Path, Path]]) -> Classes | None:
    """The classes with the values that masks have, if these are one less than the file's, as those of COCO-Stuff are.

    There void is 0 in the file and 255 in the masks, which use 0, but not the last of the file's values.
    """
    values = classes.values
    if not values or values[0] != 0 or classes.ids[0] != IGNORE or classes.colours or IGNORE in values:
        return None
    found: set[int] = set()
    for path in _some(pairs):
        with suppress(ValueError):  # the check reports it
            found |= {*np.unique(read_mask(path)).tolist()}
    is_less = (
        {0, IGNORE} <= found and not found - {IGNORE} - {value - 1 for value in values} and max(values) not in found
    )
    return replace(classes, values=[IGNORE, *(value - 1 for value in values[1:])]) if is_less else None


def _some(pairs: Sequence[tuple[Path, Path]]) -> list[Path]:
    """Some of the masks, evenly spread."""
    return [mask for _, mask in pairs[:: max(1, len(pairs) // _PEEKED)][:_PEEKED]]


def _stored_as(classes: Classes, pairs: Sequence[tuple[Path, Path]]) -> str | None:
    """Whether masks have the classes' "colours", as RGB or by their palettes, or their "ids", or None of both."""
    if classes.colours is None and classes.values is None:
        return "ids"
    colours = np.unique(pack(np.array([classes.colours or []], np.uint8).reshape(1, -1, 3)))
    ids = np.array([*(classes.values or range(len(classes.names))), IGNORE])
    hits, total = {"colours": 0, "ids": 0}, 0
    for path in _some(pairs):
        try:
            values, packed = read_mask(path), pack(read_mask(path, as_colours=True))
        except ValueError:
            continue  # the check reports it
        hits["colours"] += int(np.isin(packed, colours).sum())
        hits["ids"] += int(np.isin(values, ids).sum()) if values.ndim == 2 else 0
        total += packed.size
    best = max(hits, key=lambda kind: hits[kind])  # the first of equal ones
    return best if 2 * hits[best] > total else None if total else "ids"


def _palette(pairs: Sequence[tuple[Path, Path]]) -> dict[int, tuple[int, int, int]]:
    """The colour that the first mask's palette gives each value; empty if it has none."""
    try:
        with opened(pairs[0][1]) as image:
            packed = storage_of(image).palette
    except (ValueError, IndexError):
        return {}
    return {value: (colour >> 16, colour >> 8 & 255, colour & 255) for value, colour in packed.items()}


def _object_labels(root: Path, classes: Classes | None) -> LabelSet:
    path = classes.path if classes else root / "classes.txt"
    names = classes.names if classes else read_lines(path) if path.is_file() else ["object"]
    names = [name for name in names if name.lower() not in BACKGROUND | VOID]
    if len(names) != 1:
        raise ValueError(
            f"{path}: {len(names)} classes, expected 1: masks of object ids do not tell the class of an object; COCO's "
            "JSON does"
        )
    return own_labels(names, str(path), fewest=1)
