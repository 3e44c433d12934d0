"""What lies in a folder of no known layout, and what to type so that it can be read."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..images import SUFFIXES, ImageError
from ..messages import and_more
from .masks import pack, read_mask
from .pairing import pair_files

_DEPTH = 6  # folders below the root
_PEEKED = 3  # images of a folder that are looked at
_FEW = 64  # colours of a mask, at most
_ELSEWHERE = {
    ".zip": "an archive: unpack it",
    ".tar": "an archive: unpack it",
    ".gz": "an archive: unpack it",
    ".7z": "an archive: unpack it",
    ".rar": "an archive: unpack it",
    ".parquet": "tables: load them with Hugging Face datasets and `save_to_disk`",
    ".arrow": "tables: load them with Hugging Face datasets and `save_to_disk`",
    ".tfrecord": "TensorFlow records: write their images and masks as PNG files",
    ".h5": "HDF5: write its images and masks as PNG files",
    ".hdf5": "HDF5: write its images and masks as PNG files",
    ".nii": "volumes: write their slices as PNG files",
    ".dcm": "DICOM: write its images as PNG files",
    ".shp": "shapes of maps: draw them as PNG masks",
    ".ndjson": "rows of JSON, such as Labelbox's: write them as COCO's JSON",
    ".jsonl": "rows of JSON: write them as COCO's JSON",
}


@dataclass
class _Found:
    """The files of a folder: images by folder, and the others by ending."""

    images: dict[Path, list[Path]] = field(default_factory=lambda: defaultdict(list))
    others: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))


def survey(root: Path) -> str:
    """What a folder holds, and what to do, in a line of several sentences."""
    found = _files(root)
    parts = [f"{len(paths)} images in {_shown(folder, root)}" for folder, paths in sorted(found.images.items())]
    parts += [
        f"{len(paths)} {ending} files, such as {_shown(paths[0], root)}"
        for ending, paths in sorted(found.others.items())
        if ending in (".json", ".xml", ".txt", ".csv", ".yaml", ".mat", ".npy", *_ELSEWHERE)
    ]
    said = and_more(parts, 8) or "no files of images or annotations"
    return f"it holds {said}. {_advice(root, found)}"


def _files(root: Path) -> _Found:
    found = _Found()
    for folder, folders, names in os.walk(root):
        path = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        if len(path.relative_to(root).parts) >= _DEPTH:
            folders.clear()
        for name in sorted(name for name in names if not name.startswith(".")):
            ending = Path(name).suffix.lower()
            (found.images[path] if ending in SUFFIXES else found.others[ending]).append(path / name)
    return found


def _advice(root: Path, found: _Found) -> str:
    unpack = next(
        (
            f"{_shown(found.others[ending][0], root)} is {what}"
            for ending, what in _ELSEWHERE.items()
            if found.others.get(ending)
        ),
        "",
    )
    masks = {folder for folder, paths in found.images.items() if _are_masks(paths)}
    for folder in sorted(masks):
        partner = _partner(
            root, folder, {other: paths for other, paths in found.images.items() if other not in masks}, found
        )
        if partner:
            images, count = partner
            options = f"--data.images {_pattern(root, images)} --data.masks {_pattern(root, folder)}"
            return f"{count} files of {_shown(images, root)} and {_shown(folder, root)} look like pairs: pass {options}"
    if masks and len(found.images) > len(masks):
        names = found.images[min(masks)][0].name
        if re.match(r"task-\d+-annotation-\d+-", names):
            return (
                f"The masks in {_shown(min(masks), root)} are of Label Studio, whose names do not tell the image "
                f"({names}): export the project as JSON, beside the images"
            )
        return (
            f"The files in {_shown(min(masks), root)} look like masks, but none has the name of an image ({names}): "
            "rename them so that each has its image's name"
        )
    if unpack:
        return unpack
    if _boxes_alone(found):
        return "Its annotations are boxes alone (PASCAL VOC's XML for detection): segmentation needs polygons or masks"
    if found.images and not (found.others.get(".json") or found.others.get(".xml")):
        return "No masks and no annotations were found: segmentation needs a mask or polygons for each image"
    if found.others.get(".json"):
        path = found.others[".json"][0]
        return f"{_shown(path, root)} is of no known tool{_keys(path)}: export COCO's JSON or masks instead"
    return "Put the images into images/ and masks of equal names into masks/"


def _are_masks(paths: list[Path]) -> bool:
    """Whether files have few colours, as masks do."""
    few = []
    for path in paths[:: max(1, len(paths) // _PEEKED)][:_PEEKED]:
        try:
            values, counts = np.unique(pack(read_mask(path)), return_counts=True)
        except ImageError:
            continue
        few.append(len(values) <= _FEW or np.sort(counts)[-_FEW:].sum() > 0.98 * counts.sum())
    return bool(few) and all(few)


def _partner(root: Path, folder: Path, images: dict[Path, list[Path]], found: _Found) -> tuple[Path, int] | None:
    """The folder most of whose images have a mask in this one, and their number."""
    counts = Counter({other: len(pair_files(paths, found.images[folder], root)) for other, paths in images.items()})
    best = counts.most_common(1)
    return best[0] if best and best[0][1] else None


def _pattern(root: Path, folder: Path) -> str:
    return shlex.quote((folder.relative_to(root) / "*").as_posix())


def _shown(path: Path, root: Path) -> str:
    text = path.relative_to(root).as_posix()
    return f"{text}/" if path.is_dir() and text != "." else text if text != "." else "the folder itself"


def _boxes_alone(found: _Found) -> bool:
    paths = found.others.get(".xml", [])
    return bool(paths) and "<bndbox" in paths[0].read_text(encoding="utf-8", errors="replace")[:65536]


def _keys(path: Path) -> str:
    import json

    try:
        content = json.loads(path.read_text(encoding="utf-8-sig")) if path.stat().st_size < 1 << 26 else None
    except (OSError, ValueError, RecursionError):
        return " (it is no JSON)"
    content = content[0] if isinstance(content, list) and content else content
    return f" (it has {', '.join(map(repr, list(content)[:6]))})" if isinstance(content, dict) else ""
