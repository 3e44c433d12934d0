"""What a check of a dataset finds: facts about each image and split, and what is wrong with them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..labels import LabelSet
from ..messages import one_line
from .diagnosis import MAX_VALUES
from .masks import IdMap

TRAINED_WITH = ("train", "val")
SHOWN_CLASSES = 20  # that a line lists
_FEW = 64  # values of a mask; one with more holds no ids
_ALIKE = 3  # lines that are listed one by one although they differ in numbers alone


@dataclass
class ImageFacts:
    """What one image and its annotation contain.

    Attributes:
        problems: files that cannot be read, sizes that differ, and mistakes in the annotation.
        doubts: mistakes that are passed over.
        said: the kind and text of each `srzoo.images.ImageWarning` about the image.
        size: ``(H, W)`` of the image, or None.
        has_hidden_rotation: see `srzoo.images.has_hidden_rotation`.
        pixels: of a mask, count of each value, colours packed as by `srzoo.data.masks.pack`.
        is_colour: whether the values are colours.
        is_gray_colour: whether the file stores colours, all of them gray, so that its values look like ids.
        is_lossy: whether its encoding changes values.
        is_of_other_size: whether the annotation has another size than the image.
        palette: packed colour of each value, if the mask is a palette file.
        objects: number of objects or segments of each class id, without crowds.
        crowds: number of groups of objects of each class id.
        areas: pixels of both of each class id.
    """

    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)
    size: tuple[int, int] | None = None
    has_hidden_rotation: bool = False
    pixels: dict[int, int] = field(default_factory=dict)
    is_colour: bool = False
    is_gray_colour: bool = False
    is_lossy: bool = False
    is_of_other_size: bool = False
    palette: dict[int, int] = field(default_factory=dict)
    objects: Counter = field(default_factory=Counter)
    crowds: Counter = field(default_factory=Counter)
    areas: Counter = field(default_factory=Counter)

    def tried(self, read: Callable[[int], np.ndarray], index: int) -> np.ndarray | None:
        """What ``read`` returns, or None and a problem."""
        try:
            return read(index)
        except ValueError as error:
            self.problems.append(one_line(error))
            return None


@dataclass
class SplitFacts:
    """What a split contains.

    Attributes:
        images: number of images; `inspected` of them were read.
        sizes: number of images of each ``(H, W)``.
        hidden_rotations: names of the images with `srzoo.images.has_hidden_rotation`.
        pixels: count of each value in all masks, of the first 4096 different ones.
        first_file: the first mask with each value.
        colours: number of masks with colours.
        gray_colours: number of masks that store colours, all of them gray.
        palette_masks: number of masks with a palette.
        lossy: number of masks whose encoding changes values.
        other_sizes: number of annotations of another size than their images.
        palettes: the packed colours that palette files give each value.
        together: the first mask with each set of a few values that one mask holds.
        said: what was said about images, by kind.
        problems: a line for each file that cannot be used, and each mistake in an annotation.
        doubts: a line for each mistake that is passed over.
        objects, crowds, areas: as of `ImageFacts`, of all images.
        without_objects: number of images that have none.
    """

    images: int
    inspected: int = 0
    sizes: Counter = field(default_factory=Counter)
    hidden_rotations: list[str] = field(default_factory=list)
    pixels: Counter = field(default_factory=Counter)
    first_file: dict[int, str] = field(default_factory=dict)
    colours: int = 0
    gray_colours: int = 0
    palette_masks: int = 0
    lossy: int = 0
    other_sizes: int = 0
    palettes: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    together: dict[frozenset[int], str] = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    objects: Counter = field(default_factory=Counter)
    crowds: Counter = field(default_factory=Counter)
    areas: Counter = field(default_factory=Counter)
    without_objects: int = 0

    def add(self, facts: ImageFacts, image_name: str, target_name: str) -> None:
        self.inspected += 1
        self.problems += facts.problems
        self.doubts += facts.doubts
        self.colours += facts.is_colour
        self.gray_colours += facts.is_gray_colour
        self.palette_masks += bool(facts.palette)
        self.lossy += facts.is_lossy
        self.other_sizes += facts.is_of_other_size
        if facts.size:
            self.sizes[facts.size] += 1
        if facts.has_hidden_rotation:
            self.hidden_rotations.append(image_name)
        self.objects.update(facts.objects)
        self.crowds.update(facts.crowds)
        self.areas.update(facts.areas)
        self.without_objects += not (facts.objects or facts.crowds)
        for kind, text in facts.said:
            self.said[kind].append(text)
        if facts.pixels and len(facts.pixels) <= _FEW and not facts.is_colour:
            self.together.setdefault(frozenset(facts.pixels), target_name)
        for value, count in facts.pixels.items():
            if value in self.pixels or len(self.pixels) < MAX_VALUES:
                self.pixels[value] += count
                self.first_file.setdefault(value, target_name)
                if value in facts.palette:
                    self.palettes[value].add(facts.palette[value])

    @property
    def may_be_colours(self) -> bool:
        """Whether every mask that was read stores colours, gray or not, or has a palette of them."""
        return self.colours + self.gray_colours + self.palette_masks == self.inspected


@dataclass
class Report:
    """The outcome of a check.

    Attributes:
        format: name of the dataset's format.
        labels: names and colours of the classes, or None if the dataset does not name them.
        splits: facts by the split's name.
        num_classes: given, named, or counted; None if the masks do not tell.
        id_map: the one in use, or the proposed one if that does not fit; None for data without masks of class ids.
        is_proposed: whether `id_map` is a proposal.
        options: proposed fields of `srzoo.data.reading.Reading` besides the id map, by name.
        errors: what would make training fail, or learn something wrong; one line each.
        warnings: what is suspicious, but possibly intended; one line each.
    """

    format: str
    labels: LabelSet | None
    splits: dict[str, SplitFacts]
    num_classes: int | None
    id_map: IdMap | None = None
    is_proposed: bool = False
    options: dict[str, object] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def class_pixels(self, split: str) -> np.ndarray:
        """``(256,)`` int64 number of pixels of each class id under `id_map`, of void at 255; others are left out."""
        counts = np.zeros(256, np.int64)
        for value, count in self._countable(split).items():
            if value in self.id_map:
                counts[self.id_map[value]] += count
        return counts

    def unknown_pixels(self, split: str) -> dict[int, int]:
        """Number of pixels of each value that is not in `id_map`."""
        return {value: count for value, count in self._countable(split).items() if value not in self.id_map}

    def _countable(self, split: str) -> Mapping[int, int]:
        """Pixels by value; none if the map is one of colours and the masks are not, or the reverse."""
        facts = self.splits[split]
        is_of_one_kind = self.id_map is not None and self.id_map.has_colours == bool(facts.colours)
        return facts.pixels if is_of_one_kind else {}


def class_name(labels: LabelSet | None, class_id: int) -> str:
    """The class's name, or "class" and its number if it has none."""
    return labels.classes[class_id] if labels else f"class {class_id}"


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """The rows of a table as lines; the first column and those from ``left`` on are flush right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    signs = [">", *"<" * (left - 1), *">" * (len(widths) - left)]
    return ["  ".join(f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths)) for row in rows]


def share(count: float, total: float) -> str:
    """A part of a whole in percent, or a dash for nothing."""
    return f"{count / total:.2%}" if count else "-"


def passed_over(splits: Mapping[str, SplitFacts]) -> list[str]:
    """A line for each doubt about an annotation, and for each kind of doubt about the images of a split."""
    lines = _grouped([doubt for facts in splits.values() for doubt in facts.doubts])
    for split, facts in splits.items():
        for texts in facts.said.values():
            count = "" if len(texts) == 1 else f"{len(texts)} of {facts.inspected} images of {split}, the first "
            lines.append(f"{count}{texts[0]}")
    return lines


def _grouped(lines: Sequence[str]) -> list[str]:
    """The lines; of many notes on annotations that differ in numbers alone, the first and the number of the others."""
    alike: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        note = line.partition(": annotation ")[2].partition(" ")[2]
        alike[re.sub(r"[-\d.]+", "0", note) if note else line].append(line)
    return [
        text
        for each in alike.values()
        for text in (each if len(each) <= _ALIKE else [f"{each[0]}; {len(each) - 1} others are like it"])
    ]
