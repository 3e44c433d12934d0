"""A data set of coloured rectangles with objects and segments, and small detectors for it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor

import srzoo
from srzoo.data.objects import FoundObject, Objects
from srzoo.data.rle import encode
from srzoo.labels import LabelSet

# In order of class id, with ids of their own; the files have them in another order.
CATEGORIES = [
    {"id": 0, "name": "green", "isthing": 1},
    {"id": 7, "name": "wall", "isthing": 0},
    {"id": 40, "name": "floor", "isthing": 0},
    {"id": 90, "name": "red", "isthing": 1},
]
COLOURS = [(20, 220, 20), (90, 90, 200), (120, 100, 60), (230, 20, 20)]
THINGS = [i for i, category in enumerate(CATEGORIES) if category["isthing"]]


def scene(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """An image, the ids of its segments, and the id and class of each; void is a strip at the left."""
    rng = np.random.default_rng(seed)
    height, width = size
    ids = np.full(size, 1)
    ids[height // 2 :] = 2
    ids[:, :4] = 0
    segments = [(1, 1), (2, 2)]
    for i in range(4):
        h, w = rng.integers(14, 40, 2)
        y, x = rng.integers(0, height - h), rng.integers(5, width - w)
        ids[y : y + h, x : x + w] = 300 + i
        segments.append((300 + i, THINGS[i % 2]))
    segments = [(id, class_id) for id, class_id in segments if (ids == id).any()]
    image = np.zeros((*size, 3), np.uint8)
    for id, class_id in segments:
        image[ids == id] = COLOURS[class_id]
    return image, ids, segments


@pytest.fixture
def scenes(tmp_path):
    """A folder of six and two images in COCO's formats for instances and for panoptic segmentation."""
    root = tmp_path / "scenes"
    for split, count in {"train": 6, "val": 2}.items():
        images, objects, maps = [], [], []
        folder = root / "annotations" / f"panoptic_{split}"
        folder.mkdir(parents=True)
        (root / split).mkdir()
        for i in range(count):
            size = (96, 128) if i % 2 else (120, 90)
            pixels, ids, segments = scene(100 * (split == "val") + i, size)
            image_id = 1000 - i
            images.append({"id": image_id, "file_name": f"s{i}.png", "width": size[1], "height": size[0]})
            Image.fromarray(pixels).save(root / split / f"s{i}.png")
            channels = [(ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)]
            Image.fromarray(np.stack(channels, 2)).save(folder / f"s{i}.png")
            records = []
            for id, class_id in segments:
                mask = ids == id
                ys, xs = np.nonzero(mask)
                box = [int(v) for v in (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)]
                record = {"category_id": CATEGORIES[class_id]["id"], "area": int(mask.sum()), "bbox": box, "iscrowd": 0}
                records.append({"id": id, **record})
                if class_id in THINGS:
                    rle = encode(mask)
                    rle = {"size": rle["size"], "counts": rle["counts"].decode()}
                    objects.append({"id": len(objects) + 1, "image_id": image_id, "segmentation": rle, **record})
            maps.append({"image_id": image_id, "file_name": f"s{i}.png", "segments_info": records})
        things = [{"id": CATEGORIES[i]["id"], "name": CATEGORIES[i]["name"]} for i in THINGS]
        for name, annotations, categories in (
            ("instances", objects, things[::-1]),
            ("panoptic", maps, CATEGORIES[::-1]),
        ):
            content = {"images": images, "categories": categories, "annotations": annotations}
            (root / "annotations" / f"{name}_{split}.json").write_text(json.dumps(content))
    return root


LABELS = {
    "instance": LabelSet(("green", "red"), tuple(COLOURS[i] for i in THINGS)),
    "panoptic": LabelSet(
        tuple(each["name"] for each in CATEGORIES), tuple(COLOURS), tuple(bool(each["isthing"]) for each in CATEGORIES)
    ),
}
OPTIONS = {"backbone": "test_efficientnet", "channels": 16, "box_channels": 32, "mask_layers": (16,)}


@pytest.fixture
def detector():
    """Build a small model for the scenes that is sure enough of its random detections."""

    def build(network="mask_rcnn", **options):
        torch.manual_seed(0)
        if network == "panoptic_fpn":
            options = {"semantic_channels": 8, **options}
        model = srzoo.create_model(network, labels=LABELS[srzoo.model_info(network).task], **{**OPTIONS, **options})
        transform = srzoo.zoo.transform.Transform(96, fit="pad", long_side=160)
        model.reconfigure(transform=transform)
        for part in model.modules():
            if isinstance(part, FastRCNNPredictor):
                nn.init.normal_(part.cls_score.weight, std=3)
                nn.init.normal_(part.bbox_pred.weight, std=0.5)
            elif isinstance(part, MaskRCNNPredictor):
                nn.init.normal_(part.mask_fcn_logits.weight, std=3)
        return model.eval()

    return build


@pytest.fixture
def objects_of():
    """Make `Objects` of masks ``(N, H, W)``."""

    def make(masks, classes=None, crowd=None):
        found = []
        for i, mask in enumerate(masks):
            ys, xs = np.nonzero(mask)
            box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            class_id = 0 if classes is None else classes[i]
            is_crowd = crowd is not None and bool(crowd[i])
            found.append(FoundObject(box, class_id, encode(mask), is_crowd, float(mask.sum()), i + 1))
        return Objects.of(masks.shape[1:], found)

    return make
