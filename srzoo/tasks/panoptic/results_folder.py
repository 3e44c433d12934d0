"""Segments as COCO's panoptic results, a JSON file and a folder of PNG files, which other people's tools read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ...data.samples import PanopticData
from ...files import replacing
from ..saving import is_result, mark, save_png
from .result import Panoptic


class ResultsFolder:
    """Writes the map of each image, and the JSON file when all are there; see `srzoo.tasks.task.Export`.

    Args:
        path: the JSON file, beside which the maps are in a folder of the same name; or a folder, in which the file is
            ``panoptic.json``.
        data: the dataset, whose ids of images and categories the file has.
    """

    def __init__(self, path: Path, data: PanopticData):
        self.path = path if path.suffix.lower() == ".json" else path / "panoptic.json"
        self.image_ids, self.category_ids, self.labels = data.image_ids, data.category_ids, data.labels
        self.entries: list[tuple[int, dict]] = []

    def paths(self, names: Sequence[str]) -> list[Path]:
        return [self.path, *(self._map(name) for name in names)]

    def is_own(self, path: Path) -> bool:
        return is_result(path)

    def _map(self, name: str) -> Path:
        return self.path.with_suffix("") / f"{name}.png"

    def add(self, result: Panoptic, index: int, name: str) -> None:
        picture, segments = result.to_coco(self.category_ids)
        path = self._map(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_png(picture, temporary, mark())
        entry = {"image_id": self.image_ids[index], "file_name": path.name, "segments_info": segments}
        self.entries.append((index, entry))

    def merge(self, other: ResultsFolder) -> None:
        self.entries += other.entries

    def finish(self) -> None:
        categories = [
            {"id": id, "name": name, "isthing": int(thing)}
            for id, name, thing in zip(self.category_ids, self.labels.classes, self.labels.things)
        ]
        annotations = [entry for _, entry in sorted(self.entries, key=lambda each: each[0])]
        with replacing(self.path) as temporary:
            content = {"software": mark(), "annotations": annotations, "categories": categories}
            temporary.write_text(json.dumps(content))
