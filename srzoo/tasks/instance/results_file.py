"""Detections as COCO's results JSON, which other people's tools read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ...data.samples import InstanceData
from ...files import replacing
from .result import Instances

_HEAD = 1 << 14  # bytes
_ID = rb'(?:-?[\d.eE+-]+|"[^\n]*?")'
_DETECTIONS = re.compile(
    rb'\[\n(?:\]$|\{"image_id": %b, "category_id": %b, "bbox": \[[^]]*\], "score": [\d.e-]+, )' % (_ID, _ID)
)


class ResultsFile:
    """Collects detections, and writes them when all are there; see `srzoo.tasks.task.Export`.

    Args:
        path: the JSON file, or a folder, in which it is ``results.json``.
        data: the dataset, whose ids of images and categories the file has.
    """

    def __init__(self, path: Path, data: InstanceData):
        self.path = path if path.suffix.lower() == ".json" else path / "results.json"
        self.image_ids, self.category_ids = data.image_ids, data.category_ids
        self.entries: list[tuple[int, list[dict]]] = []

    def paths(self, names: Sequence[str]) -> list[Path]:
        return [self.path]

    def is_own(self, path: Path) -> bool:
        """Whether a file begins as this class writes it; the format has no place for a mark.

        Unlike other tools' results, it has a line for each detection.
        """
        with path.open("rb") as file:
            return bool(_DETECTIONS.match(file.read(_HEAD)))

    def add(self, result: Instances, index: int, name: str) -> None:
        self.entries.append((index, result.to_coco(self.image_ids[index], self.category_ids)))

    def merge(self, other: ResultsFile) -> None:
        self.entries += other.entries

    def finish(self) -> None:
        in_order = sorted(self.entries, key=lambda entry: entry[0])
        with replacing(self.path) as temporary:
            lines = ",\n".join(json.dumps(each) for _, found in in_order for each in found)
            temporary.write_text(f"[\n{lines}\n]" if lines else "[\n]")
