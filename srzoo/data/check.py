"""What is wrong with a dataset, said before anyone trains on it."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from shlex import quote
from typing import Any

from tqdm import tqdm

from ..images import ImageWarning
from ..labels import IGNORE
from ..messages import and_more, one_line
from .bands import RGB, check_channels
from .files import SPLIT_NAMES, NoSplit
from .mask_check import absent_in_masks, inspect_mask, judge_masks, numbered_objects, unlabelled_masks, unused_ids
from .object_check import absent_objects, inspect_objects, splits_without_objects, things_or_stuff_alone
from .opening import detect_format, layouts_beside, read_split
from .report import TRAINED_WITH, ImageFacts, Report, SplitFacts, passed_over
from .samples import ImageData, ImageFiles, InstanceData, PanopticData, SemanticData

_CHECKED = 32  # images of each split that are read before a long run


def check(
    root: str | Path,
    format: str | None = None,
    num_classes: int | None = None,
    id_map: Mapping | None = None,
    workers: int = 0,
    task: str = "semantic",
    channels: int = RGB,
    **how: Any,
) -> Report:
    """Read every image and annotation of a dataset.

    Args:
        root, format, num_classes, id_map, task, **how: as for `open_dataset`.
        workers: number of processes that read; 0 reads in this one.
        channels: of the images of the model to train.

    Raises:
        FileNotFoundError: there is no such folder, or no split in it.
        ValueError: an argument is invalid or contradicts the data, or the layout is unknown.
    """
    check_channels(channels)
    if workers < 0:
        raise ValueError(f"workers={workers}: expected 0 or more")
    if format is None and not how.get("images"):
        format = detect_format(root, task)
    splits, missing, unreadable = {}, {}, {}
    for split in SPLIT_NAMES:
        try:
            splits[split] = read_split(root, split, format, num_classes, id_map, task, **how)
        except NoSplit as error:
            missing[split] = error
        except ValueError as error:
            unreadable[split] = error
    if not splits:
        raise next(iter((unreadable or missing).values()))
    for data in splits.values():
        data.channels = channels
    report = check_splits(splits, num_classes, workers=workers)
    if not how.get("images") and (others := layouts_beside(root, report.format, task)):
        report.warnings.append(
            f"the folder has files of {and_more(others, 3)}, too; {report.format} is read, choose with --data.format"
        )
    report.errors[:0] = [one_line(error) for error in unreadable.values()]
    report.errors += [f"{missing[split]}; training needs one" for split in TRAINED_WITH if split in missing]
    return report


def check_splits(
    splits: dict[str, ImageData], num_classes: int | None, limit: int | None = None, workers: int = 0
) -> Report:
    """`check` of opened splits for any task; the annotations are judged if they are masks, objects or segments.

    Args:
        splits: by name, all of one dataset and task.
        num_classes: of the model, if known.
        limit: number of images to read of each split, evenly spread; by default all. With a limit there are no
            warnings.
        workers: as for `check`.
    """

    def read(splits: dict[str, ImageData]) -> dict[str, SplitFacts]:
        return {split: _facts(data, limit, workers) for split, data in splits.items()}

    first = next(iter(splits.values()))
    num_classes = num_classes or (len(first.labels.classes) if first.labels else None)
    report = Report(first.format, first.labels, read(splits), num_classes)
    judged = judge_masks(report, splits, read, limit) if isinstance(first, SemanticData) else []
    if isinstance(first, (InstanceData, PanopticData)):
        judged = [*splits_without_objects(report)]
    if isinstance(first, PanopticData):
        judged = [*things_or_stuff_alone(report), *judged]
    report.errors += [
        # Where the splits were made of one folder, each has what was wrong with it.
        *dict.fromkeys(problem for facts in report.splits.values() for problem in facts.problems),
        *judged,
        *(f"the split {split!r} has no images" for split, facts in report.splits.items() if not facts.images),
        *(unlabelled_masks(report) if not judged else ()),
        *_differing_classes(splits),
    ]
    if limit is None:
        report.warnings += [
            *dict.fromkeys(passed_over(report.splits)),
            *(absent_in_masks if isinstance(first, SemanticData) else absent_objects)(report),
            *(numbered_objects(report) if isinstance(first, SemanticData) else ()),
            *_shared_images(splits),
            *_same_content(splits),
            *_hidden_rotations(report),
        ]
    return report


def check_quickly(splits: dict[str, ImageData], num_classes: int | None, root: str, may_be_void: bool = False) -> None:
    """Check some of the files of each split, before a long run.

    Args:
        splits: by name, all of one dataset.
        num_classes: of the model; None for that of the data.
        root: folder of the dataset, for the message.
        may_be_void: allow masks that are void throughout.

    What is passed over, or doubtful in single images, is one warning.

    Raises:
        ValueError: something is wrong; the message has the first problem and the number of others.
    """
    report = check_splits(splits, num_classes, limit=_CHECKED)
    values = {value for facts in report.splits.values() for value in facts.pixels}
    if may_be_void and report.id_map and values <= {IGNORE}:
        return
    if report.errors:
        raise ValueError(f"{and_more(report.errors)}; `srzoo data check {quote(str(root))}` lists all, and what to do")
    doubts = passed_over(report.splits)
    if not may_be_void:  # before training
        doubts += unused_ids(report)
    if doubts:
        warnings.warn(f"{and_more(doubts)}; `srzoo data check {quote(str(root))}` lists all", stacklevel=2)


def inspect(data: ImageData, index: int) -> ImageFacts:
    """Read one image and, for the known tasks, its annotation."""
    facts = ImageFacts()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        image = facts.tried(data.image, index)
    facts.said = [(each.message.kind, str(each.message)) for each in said if isinstance(each.message, ImageWarning)]
    if image is not None:
        facts.size, facts.has_hidden_rotation = image.shape[:2], data.has_hidden_rotation(index)
    if isinstance(data, SemanticData):
        inspect_mask(facts, data, index, image)
    elif isinstance(data, (InstanceData, PanopticData)):
        inspect_objects(facts, data, index, image)
    return facts


def _facts(data: ImageData, limit: int | None, workers: int) -> SplitFacts:
    facts = SplitFacts(len(data), problems=list(data.unpaired), doubts=list(data.doubts))
    count = min(len(data), limit or len(data))
    indices = [i * len(data) // count for i in range(count)]
    inspected = tqdm(
        _inspected(data, indices, workers),
        total=count,
        desc=data.split,
        unit="image",
        leave=False,
        delay=1,
        disable=None,
    )
    for index, each in zip(indices, inspected, strict=True):
        facts.add(each, data.image_name(index), data.target_name(index))
    return facts


def _inspected(data: ImageData, indices: list[int], workers: int) -> Iterator[ImageFacts]:
    if not workers:
        yield from (inspect(data, index) for index in indices)
        return
    try:
        with ProcessPoolExecutor(workers, initializer=_receive, initargs=(data,)) as pool:
            yield from pool.map(_inspect_received, indices, chunksize=4)
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"a process that read files of {data.split} was killed, maybe for lack of memory; use fewer --workers, or "
            "0 to see at which file"
        ) from error


_received: ImageData  # set once in each worker's process, so that it is sent there once


def _receive(data: ImageData) -> None:
    global _received
    _received = data


def _inspect_received(index: int) -> ImageFacts:
    return inspect(_received, index)


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
                "annotation was made on the rotated image, as it is read here, cannot be told; look at "
                f"{facts.hidden_rotations[0]}"
            )


def _shared_images(splits: dict[str, ImageData]) -> Iterable[str]:
    images = {split: set(data.image_names()) for split, data in splits.items()}
    learnt = images.pop("train", set())
    for split in images:
        shared = sorted(images[split] & learnt)
        if shared:
            yield f"{split} shares {_images(shared)} with train ({shared[0]}), so a figure on {split} is too high"


def _same_content(splits: dict[str, ImageData]) -> Iterable[str]:
    """A line for each split with image files that train has under another name."""
    by_size: dict[int, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for split, data in splits.items():
        for path in dict.fromkeys(map(data.image_file, range(len(data)))) if isinstance(data, ImageFiles) else ():
            with contextlib.suppress(OSError):  # it is named elsewhere
                by_size[path.stat().st_size][split].append(path)
    copies: dict[str, list[tuple[Path, Path]]] = defaultdict(list)
    for paths in by_size.values():
        if "train" in paths and len(paths) > 1:
            learnt = {_hashed(path): path for path in paths["train"]}
            for split in paths.keys() - {"train"}:
                own = ((path, learnt.get(_hashed(path))) for path in paths[split])
                copies[split] += [(path, twin) for path, twin in own if twin and twin != path]
    for split in splits:
        if copies[split]:
            path, twin = copies[split][0]
            count = _images([str(path) for path, _ in copies[split]])
            yield f"{split} has copies of {count} of train ({path} of {twin}), so a figure on {split} is too high"


def _hashed(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _images(names: list[str]) -> str:
    return "1 image" if len(names) == 1 else f"{len(names)} images"
