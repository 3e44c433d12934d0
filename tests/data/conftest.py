"""Fixtures that write annotation files."""

import json

import numpy as np
import pytest
from PIL import Image

CATEGORIES = [{"id": 90, "name": "weed"}, {"id": 7, "name": "crop"}]


@pytest.fixture
def write_coco(tmp_path, write_image):
    """One image ``a.jpg`` of 11x7 with these annotations."""

    def write(annotations, file="annotations/instances_train2017.json", folder="train2017", **content):
        write_image(tmp_path / folder / "a.jpg", 7, 11)
        content = {
            "images": [{"id": 3, "file_name": "a.jpg", "width": 11, "height": 7}],
            "categories": CATEGORIES,
            "annotations": [{"id": i, "image_id": 3, **a} for i, a in enumerate(annotations)],
            **content,
        }
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).write_text(json.dumps(content))
        return tmp_path

    return write


@pytest.fixture
def write_panoptic(tmp_path, write_image):
    """One image ``a.jpg`` of 11x7 whose rows have the ids 0, 5, 5, 300, 300, 70000, 70000, under COCO's formula.

    Returns a function of segments_info and of changes to the content of the JSON file; ``pixels`` replaces the PNG's.
    """

    def write(segments, pixels=None, split="train", **content):
        write_image(tmp_path / split / "a.jpg", 7, 11)
        content = {
            "images": [{"id": 3, "file_name": "a.jpg", "width": 11, "height": 7}],
            "categories": [
                {"id": 200, "name": "sky", "isthing": 0, "color": [1, 2, 3]},
                {"id": 7, "name": "car", "isthing": 1, "color": [4, 5, 6]},
            ],
            "annotations": [{"image_id": 3, "file_name": "a.png", "segments_info": segments}],
            **content,
        }
        file = tmp_path / "annotations" / f"panoptic_{split}.json"
        file.with_suffix("").mkdir(exist_ok=True, parents=True)
        file.write_text(json.dumps(content))
        if pixels is None:
            ids = np.repeat(np.array([0, 5, 5, 300, 300, 70000, 70000])[:, None], 11, axis=1)
            pixels = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], 2).astype(np.uint8)
        Image.fromarray(pixels).save(file.with_suffix("") / "a.png")
        return tmp_path

    return write
