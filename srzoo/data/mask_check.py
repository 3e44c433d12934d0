"""The check of masks of class ids: what they contain, and what their values mean."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..labels import IGNORE
from ..messages import and_more
from .diagnosis import MANY_VALUES, MAX_VALUES, Diagnosis, diagnose, diagnose_noise
from .masks import LOSSY, IdMap, pack
from .report import SHOWN_CLASSES, TRAINED_WITH, ImageFacts, Report, SplitFacts, class_name
from .samples import SemanticData

_COUNTS = 3  # different numbers of values in masks, above which they may be numbers of objects
_BLACK = IdMap({(0, 0, 0): 0})


def inspect_mask(facts: ImageFacts, data: SemanticData, index: int, image: np.ndarray | None) -> None:
    """Add what an image's mask contains; ``image`` is ``(H, W, 3)``, or None if it cannot be read."""
    mask, errors, warnings = data.examine(index)
    facts.problems += errors
    facts.doubts += warnings
    if mask is None or errors:
        return
    if image is not None and image.shape[:2] != mask.shape[:2] and not data.reading.resize_masks:
        facts.problems.append(data.size_mismatch(index, image, mask.shape))
        facts.is_of_other_size = True
    facts.is_colour = mask.ndim == 3
    stored = data.storage(index)
    if stored.encoding in LOSSY and not data.id_map.snaps:
        facts.problems.append(f"{data.target_name(index)}: a mask as JPEG, which changes ids; masks must be PNG")
        facts.is_lossy = True
    if not facts.is_colour:
        facts.palette, facts.is_gray_colour = stored.palette, stored.has_channels
    facts.pixels = _count(pack(mask))


def _count(values: np.ndarray) -> dict[int, int]:
    """How often each of the 4096 most frequent values in ``(H, W)`` integers occurs."""
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        return {int(value): int(counts[value]) for value in counts.nonzero()[0]}
    found, counts = np.unique(values, return_counts=True)
    order = np.sort(np.argsort(-counts, kind="stable")[:MAX_VALUES])
    return dict(zip(found[order].tolist(), counts[order].tolist()))


def judge_masks(
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
    lossy = sum(part.lossy for part in parts)
    is_lossy = 2 * lossy > sum(part.inspected for part in parts)  # else some files are of a wrong kind, and are named
    diagnosis = _snapped(report, is_lossy) or _diagnose(report)
    if lossy and not diagnosis.snap:
        return []  # values mean little
    if any(part.other_sizes for part in report.splits.values()):
        report.options["resize_masks"] = True
    report.num_classes = diagnosis.num_classes
    if diagnosis.id_map:
        report.id_map, report.is_proposed = IdMap(diagnosis.id_map, snaps=diagnosis.snap), True
        report.options |= {"snap": True} if diagnosis.snap else {}
        are_palettes = report.id_map.has_colours and not any(part.colours for part in report.splits.values())
        if are_palettes and not limit:  # their values say nothing, as the palettes differ: count the colours
            report.splits = read(_under(report.id_map, splits))
    return diagnosis.errors


def _snapped(report: Report, is_lossy: bool) -> Diagnosis | None:
    """What values with noise about a few right ones mean; None if they have none, or the data has an id map."""
    pixels: Counter = sum((part.pixels for part in report.splits.values()), Counter())
    if not report.id_map.is_assumed or not (is_lossy or len(pixels) > MANY_VALUES):
        return None
    return diagnose_noise(pixels, has_colours=any(part.colours for part in report.splits.values()))


def _under(id_map: IdMap, splits: dict[str, SemanticData]) -> dict[str, SemanticData]:
    """The splits under another map; one of colours has every mask read as colours."""
    return {split: replace(data, id_map=id_map) for split, data in splits.items()}


def _diagnose(report: Report) -> Diagnosis:
    """`diagnose` over all splits together."""
    parts = list(report.splits.values())
    first_file: dict[int, str] = {}
    palettes: dict[int, set[int]] = defaultdict(set)
    for part in parts:
        first_file = {**part.first_file, **first_file}
        for value, colours in part.palettes.items():
            palettes[value] |= colours
    colours = sum(part.colours for part in parts), sum(part.inspected for part in parts)
    together = {values: name for part in reversed(parts) for values, name in part.together.items()}
    return diagnose(first_file, report.id_map, report.num_classes, colours, palettes, together)


def numbered_objects(report: Report) -> Iterable[str]:
    """A line if the values in each mask count up from 1, to another number in each, as numbers of objects do."""
    together = {values - {IGNORE} for part in report.splits.values() for values in part.together}
    counts = {len(values) for values in together if 0 in values}
    if not report.labels and len(counts) > _COUNTS and all(values == {*range(len(values))} for values in together):
        yield (
            f"every mask holds 0, 1, 2, ... up to its own number, at most {max(counts) - 1}, as numbers of objects "
            "are; if so, train with --task instance, or map them to one class with --data.id_map"
        )


def unlabelled_masks(report: Report) -> Iterable[str]:
    """A line for each split that is void throughout."""
    for split in TRAINED_WITH:
        counts = report.class_pixels(split) if split in report.splits else np.zeros(256)
        if counts[IGNORE] and not counts[:IGNORE].any():
            yield f"no pixel of {split} has a class: every one is void"


def absent_in_masks(report: Report) -> Iterable[str]:
    """A line for each split without pixels of some classes."""
    for split in report.splits:
        counts = report.class_pixels(split)
        absent = [class_name(report.labels, i) for i in range(report.num_classes or 0) if not counts[i]]
        if absent and counts[:IGNORE].any():
            yield f"{split} has no pixel of {and_more(absent, SHOWN_CLASSES)}"


def unused_ids(report: Report) -> Iterable[str]:
    """A line if the masks have less than half of the ids that numbered classes have, as those made for other classes.

    Only for masks whose classes nobody has named or mapped.
    """
    if report.labels or not report.id_map or not report.id_map.is_assumed:
        return
    ids = {value for facts in report.splits.values() for value in facts.pixels} - {IGNORE}
    count = max(ids, default=report.num_classes or 0) + 1
    if 2 * count <= (report.num_classes or 0):
        yield (
            f"the masks that were read have no id above {count - 1}, and the model has {report.num_classes} classes; "
            f"for {count} classes of your own pass --num_classes {count}, or name them in classes.txt"
        )
