"""Detections as COCO's results JSON, which other people's tools read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ...data.samples import InstanceData
from ...files import replacing
from .result import Instances


class ResultsFile:
    """Collects detections, and writes them when all are there; see `srzoo.tasks.task.Export`.

    Args:
        path: the JSON file, or a folder, in which it is ``results.json``.
        data: the dataset, whose ids of images and categories the file has.
    """

    def __init__(self, path: Path, data: InstanceData):
        self.path = path if path.suffix == ".json" else path / "results.json"
        self.image_ids, self.category_ids = data.image_ids, data.category_ids
        self.entries: list[tuple[int, list[dict]]] = []

    def paths(self, names: Sequence[str]) -> list[Path]:
        return [self.path]

    def add(self, result: Instances, index: int, name: str) -> None:
        self.entries.append((index, result.to_coco(self.image_ids[index], self.category_ids)))

    def merge(self, other: ResultsFile) -> None:
        self.entries += other.entries

    def finish(self) -> None:
        in_order = sorted(self.entries, key=lambda entry: entry[0])
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps([each for _, found in in_order for each in found]))
