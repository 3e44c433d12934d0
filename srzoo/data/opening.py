"""A folder as a dataset: which layout it has, and one split of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

from ..labels.own import MAX_CLASSES
from ..messages import nearest
from .files import SPLIT_NAMES
from .formats import FORMATS, folder
from .masks import IdMap, parse_id_map
from .samples import SegmentationData


def detect_format(root: str | Path) -> str:
    """The format that a folder looks like.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it looks like none; the message has the layout of a plain folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}")
    found = next((name for name, module in FORMATS.items() if module.matches(root)), None)
    if found is None:
        inside = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
        raise ValueError(
            f"{root} is in no known layout (it holds {inside}); for your own data make {folder.LAYOUT}. "
            f"Formats: {', '.join(FORMATS)}"
        )
    return found


def open_dataset(
    root: str | Path,
    split: str,
    format: str | None = None,
    num_classes: int | None = None,
    id_map: Mapping | None = None,
) -> SegmentationData:
    """A split of a data set.

    Args:
        root: its folder.
        split: "train", "val" or "test".
        format: a name of `FORMATS`; default what the folder looks like.
        num_classes: of the model; for data without class names, ids from this on are refused.
        id_map: from the masks' values, or colours as "#rrggbb", to class ids; default the format's.

    Raises:
        NoSplit: the data set has no such split.
        FileNotFoundError: no such folder, or images without a mask and the reverse.
        ValueError: an unknown format, or class numbers that contradict each other.
    """
    data = read_split(root, split, format, num_classes, id_map)
    if data.unpaired:
        more = f", and {len(data.unpaired) - 1} more" if len(data.unpaired) > 1 else ""
        raise FileNotFoundError(f"{data.unpaired[0]}{more}; `srzoo data check {root}` names all")
    if not len(data):
        raise FileNotFoundError(f"the split {split!r} has no images in {root}")
    return data


def read_split(
    root: str | Path,
    split: str,
    format: str | None = None,
    num_classes: int | None = None,
    id_map: Mapping | None = None,
) -> SegmentationData:
    """`open_dataset` without its demand that every file has a partner."""
    format = detect_format(root) if format is None else format
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}{nearest(format, FORMATS)}; known: {', '.join(FORMATS)}")
    if split not in SPLIT_NAMES:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLIT_NAMES)}")
    is_count = (
        isinstance(num_classes, Integral) and not isinstance(num_classes, bool) and 2 <= num_classes <= MAX_CLASSES
    )
    if num_classes is not None and not is_count:
        raise ValueError(
            f"num_classes={num_classes!r}: expected a whole number from 2 to {MAX_CLASSES}; what surrounds the objects "
            "is a class, too"
        )
    data = FORMATS[format].read(Path(root), split)
    named = len(data.labels.classes) if data.labels else None
    if None not in (named, num_classes) and named != num_classes:
        raise ValueError(f"{root} names {named} classes, but the model has {num_classes}")
    count = num_classes or named
    if id_map is not None:
        data.id_map = parse_id_map(id_map)
    elif data.id_map is None:
        data.id_map = IdMap.identity(count or MAX_CLASSES)
    if count is not None and max(data.id_map.classes) >= count:
        raise ValueError(
            f"the id map leads to class {max(data.id_map.classes)}, but there are {count} (0..{count - 1})"
        )
    return data
