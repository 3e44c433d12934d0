"""Reads COCO files that were changed at random places, and looks for what is neither read right nor refused by name.

Run by ``test_coco_mutated.py`` in a process of its own, since a wrong reader may crash or take all memory; or by hand::

    python tests/data/formats/mutated_coco.py SEED COUNT [FIRST]

Each case depends on the seed and its number alone. Its number is printed before it is read, so the last line of a crash
names it. The exit status is the number of cases gone wrong.
"""

import copy
import json
import math
import random
import re
import resource
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as pycoco

from srzoo.data.check import check
from srzoo.data.formats.coco import CocoMasks
from srzoo.data.formats.coco_objects import CocoObjects
from srzoo.data.opening import open_dataset

SIZE = (23, 31)
PNG_IDS = [0, 5, 300, 70000]
MEMORY = 4 << 30
# Words that only Python or a library would say to a user.
LEAKS = re.compile(r"\w+Error\b|object has no|unhashable|out of range|NoneType|Traceback|not subscriptable|argument")


def objects_file() -> dict:
    polygon = [[3, 2, 20, 2, 20, 15, 3, 15], [22.5, 3, 30, 3, 30, 9]]
    runs = {"size": [*SIZE], "counts": [100, 7, 16, 7, SIZE[0] * SIZE[1] - 130]}
    drawn = np.zeros(SIZE, np.uint8, order="F")
    drawn[4:9, 3:20] = drawn[1:3, 25:] = 1
    text = {"size": [*SIZE], "counts": pycoco.encode(drawn)["counts"].decode()}
    return {
        "info": {"year": 2020},
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": SIZE[1], "height": SIZE[0], "license": 1} for i in (1, 2, 3)
        ],
        "categories": [
            {"id": 0, "name": "things", "supercategory": "none"},
            {"id": 7, "name": "crop", "supercategory": "things"},
            {"id": 90, "name": "weed", "supercategory": "things", "color": [1, 2, 3]},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "segmentation": polygon, "bbox": [3, 2, 27, 13], "area": 221},
            {"id": 2, "image_id": 1, "category_id": 90, "segmentation": runs, "iscrowd": 1, "area": 14},
            {"id": 3, "image_id": 2, "category_id": 90, "segmentation": text, "bbox": [1, 1, 4, 4]},
            {"id": 4, "image_id": 2, "category_id": 7, "segmentation": [], "bbox": [5, 6, 7, 8], "iscrowd": 0},
            {"id": 5, "image_id": 3, "category_id": 7, "segmentation": [[1, 1, 5, 1, 5, 9]], "bbox": None},
        ],
    }


def panoptic_file() -> dict:
    content = objects_file()
    for category in content["categories"]:
        category["isthing"] = int(category["id"] == 7)
    segments = [{"id": id, "category_id": c, "iscrowd": 0, "area": 9} for id, c in zip(PNG_IDS[1:], (0, 7, 90))]
    content["annotations"] = [
        {"image_id": i, "file_name": f"{i}.png", "segments_info": copy.deepcopy(segments)} for i in (1, 2, 3)
    ]
    return content


HOSTILE = [
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e9, 1e308, float("nan"), float("inf"), -float("inf")),
    *(2**31, 2**63, 10**400, "", "7", "x", "../../etc/passwd", "/etc/passwd", "a\x1b[31m\nb", "\ud800", "é" * 300),
    *([], {}, [[]], [None], [0] * 7, [[1, 2]], [[1, 2, 3, 4]], [[1, 2], [5, 6], [9, 1]], {"size": [9**9, 9**9]}),
    *({"size": [*SIZE], "counts": []}, {"size": [*SIZE], "counts": [5]}, {"size": [*SIZE], "counts": "d0"}),
    *({"size": [SIZE[1], SIZE[0]], "counts": [SIZE[0] * SIZE[1]]}, {"counts": [3]}, [{"counts": [3], "size": [1, 1]}]),
]


def places(node, path=()):
    """Every place in a tree of JSON as a path of keys."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def mutate(content: dict, draw: random.Random) -> str:
    """Change a file at one place; returns what was done."""
    path = draw.choice(list(places(content)))
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    key, value = path[-1], parent[path[-1]]
    way = draw.choice(["hostile", "hostile", "hostile", "delete", "double", "nest", "unnest", "text", "scale", "swap"])
    if way == "delete":
        del parent[key]
    elif way == "double" and isinstance(parent, list):
        parent.insert(draw.randrange(len(parent) + 1), copy.deepcopy(value))
    elif way == "nest":
        parent[key] = [value] if draw.random() < 0.7 else {"x": value}
    elif way == "unnest" and isinstance(value, (list, dict)) and value:
        parent[key] = draw.choice(list(value.values()) if isinstance(value, dict) else value)
    elif way == "text":
        parent[key] = str(value)
    elif way == "scale" and isinstance(value, (int, float)):
        ways = [-value, value + 1, value * 1000]
        parent[key] = draw.choice(ways if abs(value) > 1e300 else [*ways, value + 0.25, value / 1e3, float(value)])
    elif way == "swap":
        other = draw.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        parent[key], parent[other] = parent[other], parent[key]
    else:
        parent[key] = copy.deepcopy(draw.choice(HOSTILE))
    return f"{way} at {'.'.join(map(str, path))}"


def filled(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    ids = np.array(PNG_IDS)[np.arange(SIZE[0]) % 4][:, None].repeat(SIZE[1], 1)
    segments = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], 2).astype(np.uint8)
    for folder, content in (("train", pixels), ("annotations/panoptic_train", segments)):
        (root / folder).mkdir(parents=True)
        for i in (1, 2, 3):
            Image.fromarray(content).save(root / folder / f"{i}.png")


def refused(error: Exception, file: Path) -> list[str]:
    """What is wrong with an error message."""
    text = str(error)
    return [
        wrong
        for wrong, found in {
            f"{type(error).__name__} is none that a reader may raise": not isinstance(error, (ValueError, OSError)),
            "the file is not named": file.stem not in text,  # or the folder of PNG files, which has its name
            "more than a line, or too long": len(text.splitlines()) != 1 or len(text) > 1500,
            "a word of Python": LEAKS.search(text.replace(str(file), "")) is not None,
        }.items()
        if found
    ]


def read_wrong(data, index: int) -> list[str]:
    """What is wrong with an image's annotation that was read without an error."""
    found = data.examine(index)
    if found.errors:
        return [wrong for text in found.errors for wrong in refused(ValueError(text), data.file)]
    again = data.examine(index)
    if isinstance(data, CocoMasks):
        mask = found.found
        wrong = [] if (mask == again.found).all() else ["read twice, the mask differs"]
        return wrong if mask.max(initial=0) < len(data.labels.classes) else [*wrong, "an unknown class id"]
    if not isinstance(data, CocoObjects):
        return []
    objects, wrong = found.found, []
    masks = objects.decode(range(len(objects)))
    if not (masks == again.found.decode(range(len(objects)))).all():
        wrong.append("read twice, a mask differs")
    of_id = {repr(each.id): each for each in data.images[index].annotations}
    for mask, box, area, id in zip(masks, objects.boxes, objects.areas, objects.ids):
        height, width = mask.shape
        if not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
            wrong.append(f"the box {box} in an image of {width}x{height}")
        if not mask.any() or mask.max() > 1 or not 0 < area < math.inf:
            wrong.append(f"annotation {id}: a mask of {mask.sum()} pixels, {area}")
        stored = of_id[repr(id)].segmentation
        counts = stored.get("counts") if isinstance(stored, dict) else None
        if isinstance(counts, list) and len(of_id) == len(data.images[index].annotations):
            runs = np.repeat(np.arange(len(counts)) % 2, counts).reshape(width, height).T
            wrong += [] if (runs == mask).all() else [f"annotation {id}: the mask is not that of its run lengths"]
    return wrong


def one(root: Path, seed: int, number: int, outcomes: Counter) -> list[str]:
    """What goes wrong in one case."""
    draw = random.Random(f"{seed} {number}")
    task = draw.choice(["semantic", "instance", "panoptic"])
    content = panoptic_file() if task == "panoptic" else objects_file()
    done = ", then ".join(mutate(content, draw) for _ in range(draw.choice([1, 1, 1, 2, 4])))
    print(f"case {number}, {task}: {done}".encode("unicode_escape").decode(), flush=True)
    file = root / "annotations" / ("panoptic_train.json" if task == "panoptic" else "instances_train.json")
    for old in (root / "annotations").glob("*.json"):
        old.unlink()
    file.write_text(json.dumps(content))
    try:
        data = open_dataset(root, "train", task=task)
        outcomes["read"] += not any(data.examine(i).errors for i in range(len(data)))
        wrong = [each for i in range(len(data)) for each in read_wrong(data, i)]
    except Exception as error:
        wrong = refused(error, file)
        if wrong:
            traceback.print_exc(file=sys.stdout)
    try:
        check(root, task=task)
    except Exception as error:
        wrong += [f"check: {each}" for each in refused(error, file)]
    return [f"WRONG {number}: {each}" for each in wrong]


def main(seed: int, count: int, first: int = 0) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    print(f"seed {seed}")
    wrong, outcomes = 0, Counter()
    with tempfile.TemporaryDirectory() as folder:
        filled(Path(folder))
        for number in range(first, first + count):
            lines = one(Path(folder), seed, number, outcomes)
            for line in lines:
                print(line.encode("unicode_escape").decode(), flush=True)
            wrong += bool(lines)
    print(f"{count} cases, {outcomes['read']} read, {wrong} wrong")
    return min(wrong, 100)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
