"""One file of COCO's JSON from those of single images."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ..files import replacing
from ..tasks.saving import mark, source_of


def collect(bases: Iterable[Path], target: Path) -> int:
    """Write the annotations of all images to one file, with ids of their own for images and annotations.

    Only one image is in memory at a time.

    Args:
        bases: what the names of the results start with. Those without a ``_coco.json``, or whose cannot be read,
            are passed over.
        target: the file, which is replaced.

    Returns:
        The number of images.

    Raises:
        OSError: the file cannot be written.
    """
    images, annotations, categories = [], 0, "[]"
    with replacing(target) as temporary, temporary.open("w") as file:
        file.write(f'{{"software": {json.dumps(mark())}, "annotations": [')
        for base in bases:
            path = base.with_name(f"{base.name}_coco.json")
            try:
                if not path.is_file() or source_of(path) is None:
                    continue
                content = json.loads(path.read_text())
            except OSError:  # it could not be written either, or be replaced
                continue
            images.append(json.dumps({**content["images"][0], "id": len(images) + 1}))
            categories = json.dumps(content["categories"])
            for each in content["annotations"]:
                file.write(",\n" if annotations else "\n")
                annotations += 1
                json.dump({**each, "id": annotations, "image_id": len(images)}, file)
        file.write(f'\n], "images": [{", ".join(images)}], "categories": {categories}}}\n')
    return len(images)
