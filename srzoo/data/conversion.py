"""Any dataset that can be read, written as the plain layout of its task."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..files import composed, fitting, made_folder
from ..images import SUFFIXES
from ..labels.own import numbered_labels
from ..messages import and_more, one_line
from .samples import ImageData, ImageFiles, InstanceData, SemanticData


@dataclass
class Converted:
    """What `convert` wrote.

    Attributes:
        images: number of images of each split.
        problems: a line for each image that was left out.
    """

    images: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def convert(splits: Mapping[str, ImageData], out: Path) -> Converted:
    """Write images and annotations of a dataset; after an error or a signal no part of it is left.

    An image that cannot be read, or whose annotations are wrong, is left out, and no error if there are others.

    Masks of classes become ``images/<split>/``, ``masks/<split>/`` and ``classes.txt``: masks are palette PNG files of
    class ids in the classes' colours, 255 for void. Objects become ``images/<split>/`` and COCO's
    ``annotations/instances_<split>.json``.

    Args:
        splits: by name, of one dataset and task.
        out: a folder that does not exist, or is empty.

    Raises:
        ValueError: the folder is not empty, or is a file, the task is neither, or no image can be read.
        OSError: a file cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; choose a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose a new folder")
    first = next(iter(splits.values()))
    if not isinstance(first, (SemanticData, InstanceData)):
        raise ValueError(
            "panoptic annotations cannot be converted; --task semantic converts the class of each pixel, and --task "
            "instance the objects, where the dataset has them"
        )
    with made_folder(out):
        try:
            converted = _converted(splits, out)
            if not converted.images:
                raise ValueError(
                    f"none of the images can be converted: {and_more(converted.problems)}; `srzoo data check` lists all"
                )
            return converted
        except BaseException:  # a signal, too: a part of the images would be taken for all of them
            for name in ("images", "masks", "annotations"):
                shutil.rmtree(out / name, ignore_errors=True)
            with contextlib.suppress(OSError):  # there is none
                (out / "classes.txt").unlink()
            raise


def _converted(splits: Mapping[str, ImageData], out: Path) -> Converted:
    converted = Converted()
    for split, data in splits.items():
        converted.problems += data.unpaired
        write = _Masks(data, out) if isinstance(data, SemanticData) else _Objects(data, out)
        names = _names(data)
        for index in tqdm(range(len(data)), desc=split, unit="image", leave=False, delay=1, disable=None):
            try:
                sample = data[index]
            except ValueError as error:
                converted.problems.append(one_line(error))
                continue
            write.add(
                sample, names[index], _write_image(data, index, sample.image, out / "images" / split, names[index])
            )
            converted.images[split] = converted.images.get(split, 0) + 1
        write.finish()
    return converted


def _names(data: ImageData) -> list[str]:
    """A name without extension for each image, unlike all others."""
    paths = [Path(name) for name in data.image_names()]
    stems = [path.stem for path in paths]
    if len({composed(stem).lower() for stem in stems}) == len(stems) and isinstance(data, ImageFiles):
        return stems
    digits = len(str(len(stems)))
    return [f"{i:0{digits}}_{fitting(stem) if isinstance(data, ImageFiles) else 'row'}" for i, stem in enumerate(stems)]


def _write_image(data: ImageData, index: int, image: np.ndarray, folder: Path, name: str) -> str:
    """Copy an image file, or write its pixels where they are not those of the file; returns the file's name."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(data, ImageFiles):
        source = data.image_source(index)
        is_file = isinstance(source, Path)
        with Image.open(source) as opened:
            is_upright = opened.getexif().get(0x0112, 1) == 1
            ending = source.suffix.lower() if is_file else f".{opened.format.lower()}"
        if is_upright and is_file:
            shutil.copyfile(source, folder / f"{name}{ending}")
            return f"{name}{ending}"
        if is_upright and ending in SUFFIXES:
            (folder / f"{name}{ending}").write_bytes(source.getvalue())
            return f"{name}{ending}"
    Image.fromarray(image).save(folder / f"{name}.png")
    return f"{name}.png"


class _Masks:
    def __init__(self, data: SemanticData, out: Path):
        self.folder = out / "masks" / data.split
        self.folder.mkdir(parents=True, exist_ok=True)
        if data.labels:
            (out / "classes.txt").write_text("".join(f"{name}\n" for name in data.labels.classes), encoding="utf-8")
        labels = data.labels or numbered_labels(max(data.id_map.classes) + 1)
        self.palette = [channel for colour in labels.palette for channel in colour]

    def add(self, sample: Any, name: str, _: str) -> None:
        mask = Image.fromarray(sample.ids)
        mask.putpalette([*self.palette, *[255] * (768 - len(self.palette))])
        mask.save(self.folder / f"{name}.png")

    def finish(self) -> None:
        pass


class _Objects:
    def __init__(self, data: InstanceData, out: Path):
        self.file = out / "annotations" / f"instances_{data.split}.json"
        names = zip(data.category_ids, data.labels.classes, data.labels.palette)
        categories = [{"id": id, "name": name, "color": [*colour]} for id, name, colour in names]
        self.content: dict[str, list] = {"images": [], "annotations": [], "categories": categories}
        self.ids = data.category_ids

    def add(self, sample: Any, _: str, file_name: str) -> None:
        objects, image_id = sample.objects, len(self.content["images"])
        height, width = objects.size
        self.content["images"].append({"id": image_id, "file_name": file_name, "width": width, "height": height})
        for i in range(len(objects)):
            x0, y0, x1, y1 = objects.boxes[i].tolist()
            rle = objects.masks[i]
            self.content["annotations"].append(
                {
                    "id": len(self.content["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": self.ids[int(objects.classes[i])],
                    "segmentation": {"size": [*rle["size"]], "counts": rle["counts"].decode("ascii")},
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": float(objects.areas[i]),
                    "iscrowd": int(objects.crowd[i]),
                }
            )

    def finish(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.content), encoding="utf-8")
