"""What is wrong with a dataset, said before anyone trains on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..labels import IGNORE, LabelSet
from ..messages import and_more
from .diagnosis import MAX_VALUES, Diagnosis, diagnose
from .files import SPLIT_NAMES, NoSplit
from .masks import LOSSY, IdMap, pack
from .opening import detect_format, read_split
from .samples import ImageData, SemanticData

_CHECKED = 32  # pairs of each split that are read before a long run
_TRAINED_WITH = ("train", "val")
_BLACK = IdMap({(0, 0, 0): 0})


@dataclass
class PairFacts:
    """What one image and its mask contain; of data without masks, what the image does.

    Attributes:
        problems: files that cannot be read, sizes that differ.
        size: ``(H, W)`` of the image, or None.
        has_hidden_rotation: see `srzoo.images.has_hidden_rotation`.
        pixels: count of each value, colours packed as by `srzoo.data.masks.pack`.
        is_colour: whether the values are colours.
        is_gray_colour: whether the file stores colours, all of them gray, so that its values look like ids.
        palette: packed colour of each value, if the mask is a palette file.
    """

    problems: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    has_hidden_rotation: bool = False
    pixels: dict[int, int] = field(default_factory=dict)
    is_colour: bool = False
    is_gray_colour: bool = False
    palette: dict[int, int] = field(default_factory=dict)


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
        palettes: the packed colours that palette files give each value.
        problems: a line for each file that cannot be used.
    """

    images: int
    inspected: int = 0
    sizes: Counter = field(default_factory=Counter)
    hidden_rotations: list[str] = field(default_factory=list)
    pixels: Counter = field(default_factory=Counter)
    first_file: dict[int, str] = field(default_factory=dict)
    colours: int = 0
    gray_colours: int = 0
    palettes: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    problems: list[str] = field(default_factory=list)

    def add(self, pair: PairFacts, image_name: str, target_name: str) -> None:
        self.inspected += 1
        self.problems += pair.problems
        self.colours += pair.is_colour
        self.gray_colours += pair.is_gray_colour
        if pair.size:
            self.sizes[pair.size] += 1
        if pair.has_hidden_rotation:
            self.hidden_rotations.append(image_name)
        for value, count in pair.pixels.items():
            if value in self.pixels or len(self.pixels) < MAX_VALUES:
                self.pixels[value] += count
                self.first_file.setdefault(value, target_name)
                if value in pair.palette:
                    self.palettes[value].add(pair.palette[value])

    @property
    def may_be_colours(self) -> bool:
        """Whether every mask that was read stores colours, gray or not."""
        return self.colours + self.gray_colours == self.inspected


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
        errors: what would make training fail, or learn something wrong; one line each.
        warnings: what is suspicious, but possibly intended; one line each.
    """

    format: str
    labels: LabelSet | None
    splits: dict[str, SplitFacts]
    num_classes: int | None
    id_map: IdMap | None = None
    is_proposed: bool = False
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


def check(
    root: str | Path,
    format: str | None = None,
    num_classes: int | None = None,
    id_map: Mapping | None = None,
    workers: int = 0,
    task: str = "semantic",
) -> Report:
    """Read every image and annotation of a dataset.

    Args:
        root, format, num_classes, id_map, task: as for `open_dataset`.
        workers: number of processes that read; 0 reads in this one.

    Raises:
        FileNotFoundError: there is no such folder, or no split in it.
        ValueError: an argument is invalid or contradicts the data, or the layout is unknown.
    """
    if workers < 0:
        raise ValueError(f"workers={workers}: expected 0 or more")
    format = detect_format(root, task) if format is None else format
    splits, missing = {}, {}
    for split in SPLIT_NAMES:
        try:
            splits[split] = read_split(root, split, format, num_classes, id_map, task)
        except NoSplit as error:
            missing[split] = error
    if not splits:
        raise next(iter(missing.values()))
    report = check_splits(splits, num_classes, workers=workers)
    report.errors += [f"{missing[split]}; training needs one" for split in _TRAINED_WITH if split in missing]
    return report


def check_splits(
    splits: dict[str, ImageData], num_classes: int | None, limit: int | None = None, workers: int = 0
) -> Report:
    """`check` of opened splits for any task; masks are judged if they are `SemanticData`.

    Args:
        splits: by name, all of one dataset and task.
        num_classes: of the model, if known.
        limit: number of pairs to read of each split, evenly spread; by default all. With a limit there are no
            warnings.
        workers: as for `check`.
    """

    def read(splits: dict[str, ImageData]) -> dict[str, SplitFacts]:
        return {split: _facts(data, limit, workers) for split, data in splits.items()}

    first = next(iter(splits.values()))
    num_classes = num_classes or (len(first.labels.classes) if first.labels else None)
    report = Report(first.format, first.labels, read(splits), num_classes)
    judged = _judge_masks(report, splits, read, limit) if isinstance(first, SemanticData) else []
    report.errors += [
        *(problem for facts in report.splits.values() for problem in facts.problems),
        *judged,
        *(f"the split {split!r} has no images" for split, facts in report.splits.items() if not facts.images),
        *(_unlabelled(report) if not judged else ()),
        *_differing_classes(splits),
    ]
    if limit is None:
        report.warnings += [*_absent_classes(report), *_shared_images(splits), *_hidden_rotations(report)]
    return report


def check_quickly(splits: dict[str, ImageData], num_classes: int, root: str, may_be_void: bool = False) -> None:
    """Check some of the files of each split, before a long run.

    Args:
        splits: by name, all of one dataset.
        num_classes: of the model.
        root: folder of the dataset, for the message.
        may_be_void: allow masks that are void throughout.

    Raises:
        ValueError: something is wrong; the message has the first problem and the number of others.
    """
    report = check_splits(splits, num_classes, limit=_CHECKED)
    if may_be_void and all(value == IGNORE for facts in report.splits.values() for value in facts.pixels):
        return
    if report.errors:
        raise ValueError(f"{and_more(report.errors)}; `srzoo data check {root}` lists all, and what to do")


def _judge_masks(
    report: Report,
    splits: dict[str, SemanticData],
    read: Callable[[dict[str, SemanticData]], dict[str, SplitFacts]],
    limit: int | None,
) -> list[str]:
    """What is wrong with the values in masks; sets the report's id map, number of classes, and facts if read again."""
    report.id_map = next(iter(splits.values())).id_map
    parts = report.splits.values()
    if report.id_map.is_assumed and any(part.colours for part in parts) and all(part.may_be_colours for part in parts):
        report.splits = read(_under(_BLACK, splits))  # else gray ones count as ids
    diagnosis = _diagnose(report)
    report.num_classes = diagnosis.num_classes
    if diagnosis.id_map:
        report.id_map, report.is_proposed = IdMap(diagnosis.id_map), True
        are_palettes = report.id_map.has_colours and not any(part.colours for part in report.splits.values())
        if are_palettes and not limit:  # their values say nothing, as the palettes differ: count the colours
            report.splits = read(_under(report.id_map, splits))
    return diagnosis.errors


def _under(id_map: IdMap, splits: dict[str, SemanticData]) -> dict[str, SemanticData]:
    """The splits under another map; one of colours has every mask read as colours."""
    return {split: replace(data, id_map=id_map) for split, data in splits.items()}


def _diagnose(report: Report) -> Diagnosis:
    """`diagnose` over all splits together."""
    parts = report.splits.values()
    first_file: dict[int, str] = {}
    palettes: dict[int, set[int]] = defaultdict(set)
    for part in parts:
        first_file = {**part.first_file, **first_file}
        for value, colours in part.palettes.items():
            palettes[value] |= colours
    colours = sum(part.colours for part in parts), sum(part.inspected for part in parts)
    return diagnose(first_file, report.id_map, report.num_classes, colours, palettes)


def inspect(data: ImageData, index: int) -> PairFacts:
    """Read one image and, of `SemanticData`, its mask."""
    pair = PairFacts()
    image = _tried(pair, data.image, index)
    if image is not None:
        pair.size, pair.has_hidden_rotation = image.shape[:2], data.has_hidden_rotation(index)
    if isinstance(data, SemanticData):
        _inspect_mask(pair, data, index, image)
    return pair


def _inspect_mask(pair: PairFacts, data: SemanticData, index: int, image: np.ndarray | None) -> None:
    mask = _tried(pair, data.mask, index)
    if mask is None:
        return
    if image is not None and image.shape[:2] != mask.shape[:2]:
        pair.problems.append(data.size_mismatch(index, image, mask.shape))
    pair.is_colour = mask.ndim == 3
    stored = data.storage(index)
    if stored.encoding in LOSSY:
        pair.problems.append(f"{data.target_name(index)}: a mask as JPEG, which changes ids; masks must be PNG")
        return
    if not pair.is_colour:
        pair.palette, pair.is_gray_colour = stored.palette, stored.has_channels
    pair.pixels = _count(pack(mask))


def _tried(pair: PairFacts, read: Callable[[int], np.ndarray], index: int) -> np.ndarray | None:
    """What ``read`` returns, or None and a problem."""
    try:
        return read(index)
    except ValueError as error:
        pair.problems.append(str(error).splitlines()[0])
        return None


def _count(values: np.ndarray) -> dict[int, int]:
    """How often each of the first 4096 values in ``(H, W)`` integers occurs."""
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        return {int(value): int(counts[value]) for value in counts.nonzero()[0]}
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found[:MAX_VALUES].tolist(), counts[:MAX_VALUES].tolist()))


def _facts(data: ImageData, limit: int | None, workers: int) -> SplitFacts:
    facts = SplitFacts(len(data), problems=list(data.unpaired))
    count = min(len(data), limit or len(data))
    indices = [i * len(data) // count for i in range(count)]
    pairs = tqdm(
        _inspected(data, indices, workers),
        total=count,
        desc=data.split,
        unit="pair",
        leave=False,
        delay=1,
        disable=None,
    )
    for index, pair in zip(indices, pairs, strict=True):
        facts.add(pair, data.image_name(index), data.target_name(index))
    return facts


def _inspected(data: ImageData, indices: list[int], workers: int) -> Iterator[PairFacts]:
    if not workers:
        yield from (inspect(data, index) for index in indices)
        return
    with ProcessPoolExecutor(workers, initializer=_receive, initargs=(data,)) as pool:
        yield from pool.map(_inspect_received, indices, chunksize=4)


_received: ImageData  # set once in each worker's process, so that it is sent there once


def _receive(data: ImageData) -> None:
    global _received
    _received = data


def _inspect_received(index: int) -> PairFacts:
    return inspect(_received, index)


def _unlabelled(report: Report) -> Iterable[str]:
    for split in _TRAINED_WITH:
        counts = report.class_pixels(split) if split in report.splits else np.zeros(256)
        if counts[IGNORE] and not counts[:IGNORE].any():
            yield f"no pixel of {split} has a class: every one is void"


def _differing_classes(splits: dict[str, ImageData]) -> Iterable[str]:
    first = next(iter(splits.values()))
    for split, data in splits.items():
        if data.labels != first.labels:
            yield f"{split} does not name the same classes in the same order as {first.split}"


def _hidden_rotations(report: Report) -> Iterable[str]:
    for split, facts in report.splits.items():
        if facts.hidden_rotations:
            yield (
                f"{_images(facts.hidden_rotations)} of {split}: EXIF rotates without a change of size, so whether the "
                "mask was drawn on the rotated image, as it is read here, cannot be told; look at "
                f"{facts.hidden_rotations[0]}"
            )


def _shared_images(splits: dict[str, ImageData]) -> Iterable[str]:
    images = {split: set(data.image_names()) for split, data in splits.items()}
    learnt = images.pop("train", set())
    for split in images:
        shared = sorted(images[split] & learnt)
        if shared:
            yield f"{split} shares {_images(shared)} with train ({shared[0]}), so a figure on {split} is too high"


def _images(names: list[str]) -> str:
    return "1 image" if len(names) == 1 else f"{len(names)} images"


def _absent_classes(report: Report) -> Iterable[str]:
    for split in report.splits:
        counts = report.class_pixels(split)
        absent = [class_name(report.labels, i) for i in range(report.num_classes or 0) if not counts[i]]
        if absent and counts[:IGNORE].any():
            yield f"{split} has no pixel of {', '.join(absent)}"


def class_name(labels: LabelSet | None, class_id: int) -> str:
    """The class's name, or "class" and its number if it has none."""
    return labels.classes[class_id] if labels else f"class {class_id}"
