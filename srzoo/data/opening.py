"""A folder as a dataset: which format it has, and one split of it. Imports no torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from shlex import quote
from typing import Any

from ..labels import LabelSet
from ..labels.own import MAX_CLASSES, MAX_OUTPUTS, numbered_labels
from ..messages import and_more, nearest
from .files import SPLIT_NAMES, NoSplit
from .formats import FORMATS, Format
from .formats.folder import FilePatterns
from .holdout import hold_out
from .masks import IdMap, parse_id_map
from .reading import Reading
from .samples import ImageData, SemanticData
from .survey import survey

_DEPTH = 3  # folders that lie in each other alone
_VAGUE = ([], ["folder"])  # the layouts of a folder in which another may have a better one
_PLAIN = ("folder", "listed", "kaggle", "kaggle_rows")  # formats whose files other formats have, too


def detect_format(root: str | Path, task: str = "semantic") -> str:
    """The name of the first format whose layout a folder has, and which can read the annotations for a task.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no known layout, or only those of other tasks.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}")
    found = _layouts(root)
    if found[:1] in _VAGUE:
        found = next((names for folder in _inner(root) if (names := _layouts(folder))[:1] not in _VAGUE), found)
    if not found:
        raise ValueError(f"{root} has no known layout: {_below(root, task) or survey(root)}")
    able = [name for name in found if task in FORMATS[name].tasks]
    if able == ["folder"] and found[0] != "folder":
        able = []  # it takes any masks: those of CamVid, which hold classes, would be read as objects
    return _reader(able[0] if able else found[0], task).name


def layouts_beside(root: str | Path, format: str, task: str = "semantic") -> list[str]:
    """The other formats whose layout a folder has, which could as well be read for a task."""
    found = [name for name in _layouts(Path(root)) if task in FORMATS[name].tasks and name not in _PLAIN]
    return [name for name in found if name != format] if format in found else []


def _layouts(root: Path) -> list[str]:
    return [name for name, format in FORMATS.items() if format.matches(root)]


def _inner(root: Path) -> Iterator[Path]:
    """The folders within, as long as each is the only one in the one before, as archives have them."""
    for _ in range(_DEPTH):
        within = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX"))]
        if len(within) != 1:
            return
        (root,) = within
        yield root


def _home(root: Path, reader: Format) -> Path:
    """The folder that has the layout of a format: the given one, or one within it."""
    if not root.is_dir() or reader.matches(root):
        return root
    return next((folder for folder in _inner(root) if reader.matches(folder)), root)


def _below(root: Path, task: str) -> str:
    """Which folders in a folder have a layout that can be read, and what to type; empty if none has."""
    found = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        names = [name for name, format in FORMATS.items() if format.matches(folder) and task in format.tasks]
        if names:
            found[folder] = names[0]
    if not found:
        return ""
    shown = ", ".join(f"{folder.name} ({name})" for folder, name in list(found.items())[:5])
    return f"but folders in it have: {shown}; give one of them, such as {next(iter(found))}"


def open_dataset(
    root: str | Path,
    split: str,
    format: str | None = None,
    num_classes: int | None = None,
    id_map: Mapping | None = None,
    task: str = "semantic",
    **how: Any,
) -> ImageData:
    """A split of a dataset.

    Args:
        root: its folder.
        split: "train", "val" or "test".
        format: a name in `FORMATS`; by default the one that `detect_format` returns.
        num_classes: of the model; if the data does not name its classes, ids from this on are refused.
        id_map: from the values in masks, or colours as "#rrggbb", to class ids; by default the format's.
        task: which annotations to read; "semantic" returns a `SemanticData`, "instance" an `InstanceData`, "panoptic" a
            `PanopticData`.
        **how: the other fields of `srzoo.data.reading.Reading`: images, masks, holdout, ...

    Raises:
        NoSplit: the dataset has no such split.
        FileNotFoundError: there is no such folder, no image in the split, or an image without an annotation or the
            reverse.
        ValueError: the format, the split or ``id_map`` is invalid, the format cannot read the task, or numbers of
            classes contradict each other.
    """
    data = read_split(root, split, format, num_classes, id_map, task, **how)
    if data.unpaired and data.reading.skip_unusable:
        warnings.warn(f"left out of {split}: {and_more(data.unpaired)}", stacklevel=2)
    elif data.unpaired:
        raise FileNotFoundError(
            f"{and_more(data.unpaired)}; `srzoo data check {quote(str(root))}` names all, and --data.skip_unusable "
            "leaves them out"
        )
    if not len(data):
        raise FileNotFoundError(f"the split {split!r} has no images in {root}")
    return data


def read_split(
    root: str | Path,
    split: str,
    format: str | None = None,
    num_classes: int | None = None,
    id_map: Mapping | None = None,
    task: str = "semantic",
    **how: Any,
) -> ImageData:
    """`open_dataset`, but an empty split and files without a partner are no error."""
    if id_map is not None:
        parse_id_map(id_map)  # its errors say more than those of the type
    reading = Reading(root=root, format=format, id_map=None if id_map is None else dict(id_map), **how)
    reader = _reader_of(reading, task)
    if split not in SPLIT_NAMES:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLIT_NAMES)}")
    _check_count(num_classes, task)
    data = reader.read(_home(Path(root), reader), split, task)
    data.reading = replace(reading, format=reader.name)
    if data.is_whole:
        data = _held_out(data, split, root)
    named = len(data.labels.classes) if data.labels else None
    if None not in (named, num_classes) and named != num_classes:
        raise ValueError(f"{root} names {named} classes, but the model has {num_classes}")
    if isinstance(data, SemanticData):
        _set_id_map(data, id_map, num_classes or named)
    elif id_map is not None:
        raise ValueError(f"an id map applies to masks of class ids, and task {task!r} has none; leave it out")
    return data


def _held_out(data: ImageData, split: str, root: str | Path) -> ImageData:
    """The images of a split of a dataset that has none for validation."""
    if split == "test":
        raise NoSplit(f"{root} has no split 'test'")
    if len(data) < 2 and split == "train":
        return data
    if len(data) < 2:
        raise NoSplit(f"{root} has no split 'val', and {len(data)} image, of which none can be held out")
    try:
        indices, how = hold_out(data.image_names(), data.reading.holdout)
    except ValueError as error:
        raise ValueError(f"{root}: {error}") from error
    if split == "val":
        warnings.warn(
            f"{root} has no split for val: {len(indices)} of {len(data)} images are held out, {how}; choose with "
            "--data.holdout SHARE, or fifth",
            stacklevel=2,
        )
        return data.select(indices)
    held = set(indices)
    return data.select([i for i in range(len(data)) if i not in held])


def _reader_of(reading: Reading, task: str) -> Format:
    if reading.images:
        if reading.format not in (None, FilePatterns.name):
            raise ValueError(f"format {reading.format!r} knows its files; leave out --data.images and --data.masks")
        if not Path(reading.root).is_dir():
            raise FileNotFoundError(f"no folder {reading.root}")
        return FilePatterns(reading.images, reading.masks)
    return _reader(detect_format(reading.root, task) if reading.format is None else reading.format, task)


def _reader(format: str, task: str) -> Format:
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}{nearest(format, FORMATS)}; known: {', '.join(FORMATS)}")
    if task not in FORMATS[format].tasks:
        readable = " and ".join(map(repr, FORMATS[format].tasks))
        able = [name for name, reader in FORMATS.items() if task in reader.tasks]
        raise ValueError(
            f"format {format!r} reads {readable}, not task {task!r}; formats that do: {', '.join(able) or 'none'}"
        )
    return FORMATS[format]


def _check_count(num_classes: int | None, task: str) -> None:
    fewest, advice = (2, "; what surrounds the objects is a class, too") if task == "semantic" else (1, "")
    is_whole = isinstance(num_classes, Integral) and not isinstance(num_classes, bool)
    most = MAX_OUTPUTS if task == "instance" else MAX_CLASSES  # objects have no masks of ids
    if num_classes is not None and not (is_whole and fewest <= num_classes <= most):
        raise ValueError(f"num_classes={num_classes!r}: expected a whole number from {fewest} to {most}{advice}")


def _set_id_map(data: SemanticData, id_map: Mapping | None, count: int | None) -> None:
    """Give the data the user's id map or, if the format has none, the default one, for ``count`` classes if known."""
    if id_map is not None:
        data.id_map, data.is_map_given = parse_id_map(id_map), True
    elif data.id_map is None:
        data.id_map = IdMap.identity(count or MAX_CLASSES)
    if data.reading.snap:
        if data.id_map.is_assumed:
            raise ValueError("snap needs an id map, whose values or colours are the right ones: pass --data.id_map")
        data.id_map = IdMap(data.id_map.mapping, snaps=True)
    highest = max(data.id_map.classes)
    if count is not None and highest >= count:
        raise ValueError(f"the id map leads to class {highest}, but there are {count} (0..{count - 1})")
    if data.labels is None and data.is_map_given and data.id_map.has_colours and count in (None, highest + 1):
        data.labels = _coloured_labels(data.id_map)


def _coloured_labels(id_map: IdMap) -> LabelSet | None:
    """Numbered classes in the colours of their masks, the first of each; None if a class between has no colour."""
    colours = {class_id: colour for colour, class_id in reversed(id_map.mapping.items())}
    names = numbered_labels(max(id_map.classes) + 1).classes
    palette = [colours[i] for i in range(len(names)) if i in colours]
    return LabelSet(names, tuple(palette)) if len(palette) == len(names) > 1 else None
