"""What is wrong with a data set, said before anyone trains on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..labels import IGNORE, LabelSet
from .diagnosis import Diagnosis, diagnose
from .files import SPLIT_NAMES, NoSplit
from .masks import IdMap, pack
from .opening import detect_format, read_split
from .samples import SegmentationData

_TRAINED_WITH = ("train", "val")
_BLACK = IdMap({(0, 0, 0): 0})
_LOSSY = ("JPEG", "MPO")
_MAX_VALUES = 4096  # different values remembered; no set of ids has as many


@dataclass
class Sample:
    """What one image and its mask are.

    Attributes:
        problems: files that cannot be read, sizes that differ.
        size: ``(H, W)`` of the image, or None.
        is_turned_unseen: see `srzoo.images.is_turned_unseen`.
        pixels: count of each value, colours packed as by `srzoo.data.masks.pack`.
        is_colour: whether the values are colours.
        is_gray_colour: whether the file is one of colours, all of them gray, so that its values pass for ids.
        palette: colour of each value, of a palette file.
    """

    problems: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    is_turned_unseen: bool = False
    pixels: dict[int, int] = field(default_factory=dict)
    is_colour: bool = False
    is_gray_colour: bool = False
    palette: dict[int, int] = field(default_factory=dict)


@dataclass
class SplitFacts:
    """What a split holds.

    Attributes:
        images: how many there are; `inspected` of them were read.
        sizes: ``(H, W)`` of the images.
        turned_unseen: names of those for which `srzoo.images.is_turned_unseen`.
        pixels: count of each value in all masks.
        first_file: the first mask with each value.
        colours: how many masks hold colours.
        gray_colours: how many more would, were they not gray.
        palettes: the colours that palette files give each value.
        problems: a line for each file that cannot be used.
    """

    images: int
    inspected: int = 0
    sizes: Counter = field(default_factory=Counter)
    turned_unseen: list[str] = field(default_factory=list)
    pixels: Counter = field(default_factory=Counter)
    first_file: dict[int, str] = field(default_factory=dict)
    colours: int = 0
    gray_colours: int = 0
    palettes: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    problems: list[str] = field(default_factory=list)

    def add(self, sample: Sample, image_name: str, mask_name: str) -> None:
        self.inspected += 1
        self.problems += sample.problems
        self.colours += sample.is_colour
        self.gray_colours += sample.is_gray_colour
        if sample.size:
            self.sizes[sample.size] += 1
        if sample.is_turned_unseen:
            self.turned_unseen.append(image_name)
        for value, count in sample.pixels.items():
            if value in self.pixels or len(self.pixels) < _MAX_VALUES:
                self.pixels[value] += count
                self.first_file.setdefault(value, mask_name)
                if value in sample.palette:
                    self.palettes[value].add(sample.palette[value])


@dataclass
class Report:
    """The outcome of a check.

    Attributes:
        format: of the data.
        labels: class names where the data has them.
        splits: facts by the split's name.
        errors: what training would fail on or learn wrongly; one line each.
        warnings: what may be meant so.
        id_map: the one in use, or the proposed one where that one does not fit.
        is_proposed: whether the id map is a proposal.
        num_classes: given, named, or counted; None where the masks do not tell.
    """

    format: str
    labels: LabelSet | None
    splits: dict[str, SplitFacts]
    errors: list[str]
    warnings: list[str]
    id_map: IdMap
    is_proposed: bool
    num_classes: int | None

    def class_pixels(self, split: str) -> np.ndarray:
        """``(256,)`` int64 pixels of each class id, void at 255, under `id_map`; what it lacks is left out."""
        counts, facts = np.zeros(256, np.int64), self.splits[split]
        for value, count in facts.pixels.items():
            if value in self.id_map and self.id_map.has_colours == bool(facts.colours):
                counts[self.id_map[value]] += count
        return counts

    def unknown_pixels(self, split: str) -> dict[int, int]:
        """How many pixels have each value that `id_map` lacks; none where it is of another kind than the masks."""
        facts = self.splits[split]
        if self.id_map.has_colours != bool(facts.colours):
            return {}
        return {value: count for value, count in facts.pixels.items() if value not in self.id_map}


def check(
    root: str | Path,
    format: str | None = None,
    num_classes: int | None = None,
    id_map: Mapping | None = None,
    workers: int = 0,
) -> Report:
    """Read every image and mask of a data set.

    Args:
        root, format, num_classes, id_map: as for `open_dataset`.
        workers: processes that read beside this one; 0 for none.

    Raises:
        FileNotFoundError: no such folder, or no split in it.
        ValueError: the layout is unknown, or what was given contradicts the data.
    """
    if workers < 0:
        raise ValueError(f"workers={workers}: expected 0 or more")
    format = detect_format(root) if format is None else format
    splits, missing = {}, {}
    for split in SPLIT_NAMES:
        try:
            splits[split] = read_split(root, split, format, num_classes, id_map)
        except NoSplit as error:
            missing[split] = error
    if not splits:
        raise next(iter(missing.values()))
    report = check_splits(splits, num_classes, workers=workers)
    report.errors += [f"{missing[split]}; training needs one" for split in _TRAINED_WITH if split in missing]
    return report


def check_splits(
    splits: dict[str, SegmentationData], num_classes: int | None, limit: int | None = None, workers: int = 0
) -> Report:
    """`check` of splits that are open already; of each at most ``limit`` pairs, evenly spread."""
    facts = {split: _facts(data, limit, workers) for split, data in splits.items()}
    first = next(iter(splits.values()))
    num_classes = num_classes or (len(first.labels.classes) if first.labels else None)
    colours = sum(part.colours for part in facts.values())
    if first.id_map.is_assumed and colours and all(_may_be_colours(part) for part in facts.values()):
        splits, facts = _counted_by_colour(splits, _BLACK, limit, workers)
    diagnosis = _diagnose(facts, first.id_map, num_classes)
    proposed = IdMap(diagnosis.id_map) if diagnosis.id_map else None
    if proposed and proposed.has_colours and not limit and not any(part.colours for part in facts.values()):
        # The values of palettes that differ say nothing: count their colours.
        splits, facts = _counted_by_colour(splits, proposed, limit, workers)
    report = Report(
        format=first.format,
        labels=first.labels,
        splits=facts,
        errors=[problem for part in facts.values() for problem in part.problems] + diagnosis.errors,
        warnings=[],
        id_map=proposed or first.id_map,
        is_proposed=proposed is not None,
        num_classes=diagnosis.num_classes,
    )
    report.errors += [f"the split {split!r} has no images" for split, part in facts.items() if not part.images]
    if not diagnosis.errors:
        report.errors += _unlabelled(report)
    for split, data in splits.items():
        if data.labels != first.labels:
            report.errors.append(f"{split} does not name the classes that {first.split} does, in that order")
    if limit is None:
        report.warnings += [*_absent_classes(report), *_shared_images(splits), *_turned_images(report)]
    return report


def _may_be_colours(facts: SplitFacts) -> bool:
    return facts.colours + facts.gray_colours == facts.inspected


def _counted_by_colour(
    splits: dict[str, SegmentationData], id_map: IdMap, limit: int | None, workers: int
) -> tuple[dict[str, SegmentationData], dict[str, SplitFacts]]:
    """The splits under a map of colours, by which every mask is read as colours, and what they hold then."""
    splits = {split: replace(data, id_map=id_map) for split, data in splits.items()}
    return splits, {split: _facts(data, limit, workers) for split, data in splits.items()}


def inspect(data: SegmentationData, index: int) -> Sample:
    """Read one pair."""
    sample = Sample()
    image = _tried(sample, data.image, index)
    mask = _tried(sample, data.mask, index)
    if image is not None:
        sample.size, sample.is_turned_unseen = image.shape[:2], data.is_turned_unseen(index)
    if mask is None:
        return sample
    if image is not None and image.shape[:2] != mask.shape[:2]:
        sample.problems.append(data.size_mismatch(index, image, mask))
    sample.is_colour = mask.ndim == 3
    stored = data.storage(index)
    if stored.encoding in _LOSSY:
        sample.problems.append(f"{data.mask_name(index)}: a mask as JPEG, which changes ids; masks must be PNG")
        return sample
    if not sample.is_colour:
        sample.palette, sample.is_gray_colour = stored.palette, stored.has_channels
    sample.pixels = _count(pack(mask))
    return sample


def _tried(sample: Sample, read, index: int) -> np.ndarray | None:
    try:
        return read(index)
    except ValueError as error:
        sample.problems.append(str(error).splitlines()[0])
        return None


def _count(values: np.ndarray) -> dict[int, int]:
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        return {int(value): int(counts[value]) for value in counts.nonzero()[0]}
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found[:_MAX_VALUES].tolist(), counts[:_MAX_VALUES].tolist()))


def _facts(data: SegmentationData, limit: int | None, workers: int) -> SplitFacts:
    facts = SplitFacts(len(data), problems=list(data.unpaired))
    count = min(len(data), limit or len(data))
    indices = [i * len(data) // count for i in range(count)]
    samples = tqdm(
        _inspected(data, indices, workers),
        total=count,
        desc=data.split,
        unit="pair",
        leave=False,
        delay=1,
        disable=None,
    )
    for index, sample in zip(indices, samples, strict=True):
        facts.add(sample, data.image_name(index), data.mask_name(index))
    return facts


def _inspected(data: SegmentationData, indices: list[int], workers: int) -> Iterator[Sample]:
    if not workers:
        yield from (inspect(data, index) for index in indices)
        return
    with ProcessPoolExecutor(workers, initializer=_receive, initargs=(data,)) as pool:
        yield from pool.map(_inspect_received, indices, chunksize=4)


_received: SegmentationData  # in a worker's process, so that it is sent there once


def _receive(data: SegmentationData) -> None:
    global _received
    _received = data


def _inspect_received(index: int) -> Sample:
    return inspect(_received, index)


def _diagnose(splits: dict[str, SplitFacts], id_map: IdMap, num_classes: int | None) -> Diagnosis:
    parts = splits.values()
    first_file: dict[int, str] = {}
    palettes: dict[int, set[int]] = defaultdict(set)
    for part in parts:
        first_file = {**part.first_file, **first_file}
        for value, colours in part.palettes.items():
            palettes[value] |= colours
    colours = sum(part.colours for part in parts), sum(part.inspected for part in parts)
    return diagnose(first_file, id_map, num_classes, colours, palettes)


def _unlabelled(report: Report) -> Iterable[str]:
    for split in _TRAINED_WITH:
        counts = report.class_pixels(split) if split in report.splits else np.zeros(256)
        if counts[IGNORE] and not counts[:IGNORE].any():
            yield f"no pixel of {split} has a class: every one is void"


def _turned_images(report: Report) -> Iterable[str]:
    for split, facts in report.splits.items():
        if facts.turned_unseen:
            many = "1 image" if len(facts.turned_unseen) == 1 else f"{len(facts.turned_unseen)} images"
            yield (
                f"{many} of {split} are turned by their EXIF, and their size does not tell whether the mask was drawn "
                f"on the turned one, as it is read here: look at {facts.turned_unseen[0]}"
            )


def _shared_images(splits: dict[str, SegmentationData]) -> Iterable[str]:
    images = {split: {data.image_name(i) for i in range(len(data))} for split, data in splits.items()}
    learnt = images.pop("train", set())
    for split in images:
        shared = sorted(images[split] & learnt)
        if shared:
            many = "1 image" if len(shared) == 1 else f"{len(shared)} images"
            yield f"{many} of {split} is in train, too ({shared[0]}): its figure flatters a model"


def _absent_classes(report: Report) -> Iterable[str]:
    for split in report.splits:
        counts = report.class_pixels(split)
        absent = [class_name(report.labels, i) for i in range(report.num_classes or 0) if not counts[i]]
        if absent and counts[:IGNORE].any():
            yield f"{split} has no pixel of {', '.join(absent)}"


def class_name(labels: LabelSet | None, class_id: int) -> str:
    """The class's name, or its number where it has none."""
    return labels.classes[class_id] if labels else f"class {class_id}"
