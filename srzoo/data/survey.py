"""What lies in a folder of no known layout, and what to type so that it can be read."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..images import SUFFIXES, ImageError, opened
from ..messages import and_more
from .masks import ARRAYS, pack, read_mask
from .pairing import pair_files
from .roles import role_of, split_of, words

_DEPTH = 6  # folders below the root
_PEEKED = 3  # images of a folder that are looked at
_FEW = 64  # colours of a mask, at most
_SURE = 0.8  # share of the masks of a folder that have an image, from which on both are proposed
_BY_COCO = "write them as COCO's JSON"
_ELSEWHERE = {
    ".zip": "an archive: unpack it",
    ".tar": "an archive: unpack it",
    ".gz": "an archive: unpack it",
    ".7z": "an archive: unpack it",
    ".rar": "an archive: unpack it",
    ".parquet": "a table: load it with Hugging Face datasets and `save_to_disk`",
    ".arrow": "a table: load it with Hugging Face datasets and `save_to_disk`",
    ".tfrecord": "TensorFlow records: write their images and masks as PNG files",
    ".h5": "HDF5: write its images and masks as PNG files",
    ".hdf5": "HDF5: write its images and masks as PNG files",
    ".npz": "a set of arrays: write the images and masks in it as PNG files, or each as an .npy file",
    ".nii": "a volume: write its slices as PNG files",
    ".nii.gz": "a volume: write its slices as PNG files",
    ".nrrd": "a volume: write its slices as PNG files",
    ".dcm": "DICOM: write its images as PNG files",
    ".shp": "a file of shapes of a map: draw them as PNG masks, as gdal_rasterize does",
    ".gpkg": "a file of shapes of a map: draw them as PNG masks, as gdal_rasterize does",
    ".geojson": "a file of shapes of a map: draw them as PNG masks, as gdal_rasterize does",
    ".ndjson": f"rows of JSON: {_BY_COCO}",
    ".jsonl": f"rows of JSON: {_BY_COCO}",
}
_PAIRS = "or write pairs.csv with the columns image and mask"


@dataclass
class _Found:
    """The files of a folder: images by folder, arrays that may be masks too, and the others by ending."""

    images: dict[Path, list[Path]] = field(default_factory=lambda: defaultdict(list))
    arrays: dict[Path, list[Path]] = field(default_factory=lambda: defaultdict(list))
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
            ending = ".nii.gz" if name.lower().endswith(".nii.gz") else Path(name).suffix.lower()
            (found.images[path] if ending in SUFFIXES else found.others[ending]).append(path / name)
            if ending in ARRAYS:
                found.arrays[path].append(path / name)
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
    masks = {folder: paths for folder, paths in found.images.items() if _are_masks(paths)}
    images = {folder: paths for folder, paths in found.images.items() if folder not in masks}
    candidates = {**masks, **{folder: paths for folder, paths in found.arrays.items() if folder not in found.images}}
    for folder in sorted(candidates, key=lambda folder: (_is_of_objects(folder), folder)):
        if proposed := _proposed(root, folder, candidates[folder], images, found):
            return proposed
    if not candidates and (mixed := _mixed(root, found)):
        return mixed
    if masks and len(found.images) > len(masks):
        names = found.images[min(masks)][0].name
        if re.match(r"task-\d+-annotation-\d+-", names):
            return (
                f"The masks in {_shown(min(masks), root)} are of Label Studio, whose names do not tell the image "
                f"({names}): export the project as JSON, beside the images"
            )
        return (
            f"The files in {_shown(min(masks), root)} look like masks, but none has the name of an image ({names}): "
            f"rename them so that each has its image's name, {_PAIRS}"
        )
    if unpack:
        return unpack
    if said := _of_files(root, found):
        return said
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


def _is_of_objects(folder: Path) -> bool:
    return role_of(words(folder.name)) in ("objects", "picture", "other")


def _proposed(root: Path, folder: Path, masks: list[Path], images: dict[Path, list[Path]], found: _Found) -> str | None:
    """What to type for the folder most of whose images have a mask in this one; None if there is none."""
    counts = Counter({other: len(pair_files(paths, masks, root)) for other, paths in images.items()})
    best = counts.most_common(2)
    if not best or best[0][1] < max(1, _SURE * min(len(masks), len(images[best[0][0]]))):
        return None
    other, count = best[0]
    outer = _with_folders(other, folder, images)
    if outer and root not in outer:
        return (
            f"Files of {_shown(outer[0], root)} and {_shown(outer[1], root)} look like pairs: pass --data.images "
            f"{_quoted(root, outer[0], '**/*')} --data.masks {_quoted(root, outer[1], '**/*')}"
        )
    options = f"--data.images {_pattern(root, other, found)} --data.masks {_pattern(root, folder, found)}"
    text = f"{count} files of {_shown(other, root)} and {_shown(folder, root)} look like pairs: pass {options}"
    if len(best) > 1 and best[1][1] == count and best[1][0].parent == other.parent:
        text += f", or the images {_pattern(root, best[1][0], found)}: one image is read for each mask"
    return text


def _with_folders(images: Path, masks: Path, others: dict[Path, list[Path]]) -> tuple[Path, Path] | None:
    """The folders above those of images and masks, if both have folders of the same names in them, such as scenes."""
    depth = 0
    while images.parts[-1 - depth :] == masks.parts[-1 - depth :]:
        depth += 1
    if not depth:
        return None
    outer = images.parents[depth - 1], masks.parents[depth - 1]
    tails = [folder.relative_to(outer[0]) for folder in others if outer[0] in folder.parents]
    return outer if sum((outer[1] / tail).is_dir() for tail in tails) > 1 else None


def _quoted(root: Path, folder: Path, pattern: str) -> str:
    return shlex.quote((folder.relative_to(root) / pattern).as_posix())


def _pattern(root: Path, folder: Path, found: _Found) -> str:
    """The pattern of the files of a folder, and of others of its name, or that differ in the name of a split."""
    others = {*found.images, *found.arrays} - {folder}
    if folder != root and split_of(folder.name):
        has_splits = any(other.parent == folder.parent and split_of(other.name) for other in others)
        folder = folder.with_name("*") if has_splits else folder
    elif folder != root and any(other.name == folder.name for other in others):
        return shlex.quote(f"**/{folder.name}/*")
    return shlex.quote(folder.relative_to(root).joinpath("*").as_posix())


def _mixed(root: Path, found: _Found) -> str | None:
    """What to type for a folder in which masks lie among the images, and differ in the ends of their names."""
    for folder, paths in found.images.items():
        by_end: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            last = re.search(r"[_\- .]([^_\- .\d][^_\- .]*|\d[^_\- .]*[^\d_\- .]+)$", path.stem)
            by_end[f"{last[0] if last else ''}{path.suffix}"].append(path)
        ends = [end for end in by_end if len(by_end[end]) > 1]
        masks = sorted(end for end in ends if _are_masks(by_end[end]))
        images = [path for path in paths if all(path not in by_end[end] for end in masks)]
        endings = {path.suffix for path in images}
        if masks and len(endings) == 1 and 2 * len(pair_files(images, by_end[masks[0]], root)) >= len(images):
            place = folder.relative_to(root).as_posix()
            start = "" if place == "." else f"{place}/"
            wanted = [shlex.quote(f"{start}*{end}") for end in (*endings, masks[0])]
            return f"Some files look like masks: pass --data.images {wanted[0]} --data.masks {wanted[1]}"
    return None


def _of_files(root: Path, found: _Found) -> str | None:
    """What files of images and arrays hold besides one picture each."""
    for paths in found.images.values():
        with suppress(ImageError), opened(paths[0]) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format == "TIFF":
                return f"{_shown(paths[0], root)} has {image.n_frames} pages: write each of them as a file"
            if image.mode == "RGBA" and len(set(image.getchannel("A").getdata())) == 2:
                return (
                    f"{_shown(paths[0], root)} is cut out, by its transparency: write that of each image as a mask, "
                    "image.getchannel('A').save(...)"
                )
    for path in found.others.get(".npy", ()):
        with suppress(OSError, ValueError):
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            if len(shape) > 2 and shape[0] > 4 and len(found.others[".npy"]) < 9:
                return (
                    f"{_shown(path, root)} is an array of the shape {shape}: write each of its images, and each of its "
                    "masks, as a file"
                )
    return None


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
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        return " by its place, though it is COCO's: name it annotations/instances_train.json"
    content = content[0] if isinstance(content, list) and content else content
    return f" (it has {', '.join(map(repr, list(content)[:6]))})" if isinstance(content, dict) else ""
