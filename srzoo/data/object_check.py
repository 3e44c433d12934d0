"""The check of objects and of segments: whether each can be used, and how many of them each class has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..messages import and_more
from .objects import Objects
from .report import SHOWN_CLASSES, TRAINED_WITH, ImageFacts, Report, SplitFacts, aligned, class_name, share
from .samples import InstanceData, PanopticData

_ARTICLES = {"segment": "a segment", "object": "an object"}
_ALL_THINGS = "things", "each kind of surface", 0, "instance"
_ALL_STUFF = "surfaces", "each class of countable objects", 1, "semantic"


def inspect_objects(facts: ImageFacts, data: InstanceData | PanopticData, index: int, image: np.ndarray | None) -> None:
    """Add what an image's annotation contains; ``image`` is ``(H, W, 3)``, or None if it cannot be read."""
    found, errors, warnings = data.examine(index)
    facts.problems += errors
    facts.doubts += warnings
    if found is None:
        return
    size = found.size if isinstance(found, Objects) else found[0].shape
    if image is not None and image.shape[:2] != size:
        facts.problems.append(data.size_mismatch(index, image, size, "annotation"))
    for class_id, is_crowd, area in _counted(found):
        (facts.crowds if is_crowd else facts.objects)[class_id] += 1
        facts.areas[class_id] += area


def _counted(found: Objects | tuple) -> Iterator[tuple[int, bool, float]]:
    """Class, crowd and pixels of each object or segment."""
    if isinstance(found, Objects):
        yield from zip(found.classes.tolist(), found.crowd.tolist(), found.areas.tolist())
    else:
        yield from ((segment.class_id, segment.crowd, segment.area) for segment in found[1])


def things_or_stuff_alone(report: Report) -> Iterable[str]:
    """A line if the segments are all of things, or all of stuff, which no panoptic model can learn."""
    things = report.labels.things
    if things and (all(things) or not any(things)):
        own, other, flag, task = _ALL_THINGS if all(things) else _ALL_STUFF
        yield (
            f"all {len(things)} classes are {own} by their 'isthing', but a panoptic model needs both kinds; set "
            f"'isthing': {flag} for {other}, or train a model of task {task}"
        )


def _one(report: Report) -> str:
    """What the data consist of, a key of `_ARTICLES`."""
    return "segment" if report.labels.things else "object"


def splits_without_objects(report: Report) -> Iterable[str]:
    """A line for each split to train with that has none.

    Where only some of the images were read, it is for a split whose objects were all left out: some images may well
    have no object.
    """
    for split in TRAINED_WITH:
        facts = report.splits.get(split)
        if not facts or not facts.inspected or facts.objects or facts.problems:
            continue
        if facts.inspected == facts.images or facts.doubts:
            advice = f"; the first that was left out: {facts.doubts[0]}" if facts.doubts else ""
            yield f"no image of {split} has {_ARTICLES[_one(report)]} that can be learned{advice}"


def absent_objects(report: Report) -> Iterable[str]:
    """A line for each split without objects of some classes."""
    for split, facts in report.splits.items():
        absent = [class_name(report.labels, i) for i in range(report.num_classes or 0) if not facts.objects[i]]
        if absent and facts.objects:
            yield f"{split} has no {_one(report)} of {and_more(absent, SHOWN_CLASSES)}"


def object_table(report: Report) -> list[str]:
    """A line for each class: id, name, number of objects and share of the pixels of each split.

    Crowds are counted apart, and masks of objects may overlap, so that shares may add up to more than the whole. Where
    the classes are of objects and of surfaces, each line says of which.
    """
    things = report.labels.things
    if not any(facts.objects or facts.crowds for facts in report.splits.values()):
        return []
    kind = ["kind"] if things else []
    rows = [["id", "class", *kind, *(text for split in report.splits for text in (split, "pixels"))]]
    for i, name in enumerate(report.labels.classes):
        kind = ["thing" if things[i] else "stuff"] if things else []
        cells = [text for facts in report.splits.values() for text in _cells(facts, i)]
        rows.append([str(i), name, *kind, *cells])
    if things:
        voids = [text for facts in report.splits.values() for text in ("", share(_void(facts), _pixels(facts)))]
        rows.append(["-", "void", "", *voids])
    return [*aligned(rows, left=3 if things else 2), *_without_objects(report)]


def _cells(facts: SplitFacts, class_id: int) -> tuple[str, str]:
    number = f"{facts.objects[class_id]:,}" if facts.objects[class_id] else "-"
    crowds = f" + {facts.crowds[class_id]} crowds" if facts.crowds[class_id] else ""
    return number + crowds, share(facts.areas[class_id], _pixels(facts))


def _pixels(facts: SplitFacts) -> int:
    return max(1, sum(height * width * count for (height, width), count in facts.sizes.items()))


def _void(facts: SplitFacts) -> float:
    return max(0, _pixels(facts) - sum(facts.areas.values()))


def _without_objects(report: Report) -> Iterable[str]:
    for split, facts in report.splits.items():
        if facts.without_objects:
            yield f"{facts.without_objects} of {facts.inspected} images of {split} have no {_one(report)}"
