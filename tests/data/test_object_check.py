"""The check of objects and segments, over whole datasets."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from srzoo.data.check import check, check_quickly, check_splits
from srzoo.data.object_check import object_table
from srzoo.data.opening import open_dataset

SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]
GOOD = {"category_id": 7, "segmentation": [SQUARE]}


@pytest.fixture
def root(tmp_path, write_image):
    """Two splits of three images, with an object each and a crowd in the first."""
    for split in ("train", "val"):
        names = [f"{split}{i}.jpg" for i in range(3)]
        for name in names:
            write_image(tmp_path / split / name)
        images = [{"id": i, "file_name": name, "width": 11, "height": 7} for i, name in enumerate(names)]
        annotations = [{**GOOD, "id": i, "image_id": i, "category_id": 7 + i % 2} for i in range(3)]
        annotations.append({**GOOD, "id": 9, "image_id": 0, "iscrowd": 1})
        categories = [{"id": 7, "name": "crop"}, {"id": 8, "name": "weed"}]
        content = {"images": images, "categories": categories, "annotations": annotations}
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return tmp_path


def change(root, split, index=None, **values):
    """Change an annotation of a split, or with index None its whole content."""
    file = root / "annotations" / f"{split}.json"
    content = json.loads(file.read_text())
    (content if index is None else content["annotations"][index]).update(values)
    file.write_text(json.dumps(content))


def test_a_good_dataset(root):
    report = check(root, task="instance")
    assert (report.format, report.num_classes, report.id_map) == ("coco", 2, None)
    assert report.errors == report.warnings == []
    train = report.splits["train"]
    assert (train.images, train.inspected, train.without_objects) == (3, 3, 0)
    assert (dict(train.objects), dict(train.crowds), dict(train.areas)) == ({0: 2, 1: 1}, {0: 1}, {0: 48, 1: 16})


@pytest.mark.parametrize("changed", [{"annotations": []}, "crowds"])
def test_a_split_that_was_read_whole_needs_an_object(root, changed):
    if changed == "crowds":
        for i in range(4):
            change(root, "train", i, iscrowd=1)
    else:
        change(root, "train", **changed)
    splits = {split: open_dataset(root, split, task="instance") for split in ("train", "val")}
    with pytest.raises(ValueError, match="no image of train has an object"):
        check_quickly(splits, None, str(root))
    assert check_splits(splits, None, limit=2).errors == []  # the third may have one


def test_its_table(root):
    lines = object_table(check(root, task="instance"))
    assert [line.split() for line in lines] == [
        ["id", "class", "train", "pixels", "val", "pixels"],
        ["0", "crop", *["2", "+", "1", "crowds", "20.78%"] * 2],
        ["1", "weed", *["1", "6.93%"] * 2],
    ]
    assert len({len(line) for line in lines}) == 1
    change(root, "val", annotations=[])
    assert object_table(check(root, task="instance"))[-1] == "3 of 3 images of val have no object"


def test_processes_find_the_same(root):
    change(root, "train", 0, category_id=44)
    alone, together = (check(root, task="instance", workers=workers) for workers in (0, 2))
    assert alone.errors == together.errors != []
    assert object_table(alone) == object_table(together)


def test_one_bad_file_does_not_stop_the_rest(root):
    (root / "train" / "train0.jpg").write_bytes(b"")
    change(root, "train", 1, category_id=44)
    change(root, "val", 2, segmentation=None)
    errors = check(root, task="instance").errors
    assert len(errors) == 3
    parts = "train0.jpg: the file is empty", "train1.jpg: annotation 1 .*44", "val2.jpg: annotation 2 .*segmentation"
    for error, part in zip(errors, parts, strict=True):
        assert re.search(part, error)


def test_a_bad_annotation_file_does_not_hide_the_other(root):
    (root / "annotations" / "train.json").write_text("{")
    change(root, "val", 2, segmentation=None)
    errors = check(root, task="instance").errors
    assert re.search("train.json is not COCO's JSON: .*line 1", errors[0])
    assert re.search("val2.jpg: annotation 2 has no segmentation", errors[1])
    (root / "annotations" / "val.json").write_text("{")
    with pytest.raises(ValueError, match="train.json is not COCO's JSON"):
        check(root, task="instance")


def test_absent_classes(root):
    change(root, "val", 1, category_id=7)
    assert check(root, task="instance").warnings == ["val has no object of weed"]


def test_many_absent_classes_are_counted(root):
    """LVIS has 1203 classes."""
    for split in ("train", "val"):
        change(root, split, categories=[{"id": i, "name": f"class {i}"} for i in range(7, 300)])
    (line, _) = check(root, task="instance").warnings
    assert "class 9, class 10" in line and line.endswith("and 271 more") and len(line) < 300


def test_absent_surfaces_are_no_objects(write_panoptic):
    root = write_panoptic([{"id": 5, "category_id": 7}], np.full((7, 11, 3), (5, 0, 0), np.uint8))
    assert check(root, task="panoptic").warnings == ["train has no segment of sky"]


def test_a_split_without_objects(root):
    change(root, "train", annotations=[])
    assert check(root, task="instance").errors == ["no image of train has an object that can be learned"]
    change(root, "train", annotations=[{**GOOD, "id": 1, "image_id": 0, "iscrowd": 1}])
    assert check(root, task="instance").errors == ["no image of train has an object that can be learned"]


def test_boxes_in_fractions_of_the_image(root):
    for i in range(4):
        change(root, "train", i, segmentation=[[number / 11 for number in SQUARE]], bbox=[0.2, 0.1, 0.4, 0.6])
    errors = check(root, task="instance").errors
    assert len(errors) == 4
    assert re.search("train0.jpg: annotation 0 has coordinates from 0 to 1, expected pixels .*11x7", errors[0])


def test_the_quick_check_before_a_run(root):
    splits = {split: open_dataset(root, split, task="instance") for split in ("train", "val")}
    check_quickly(splits, 2, str(root))
    change(root, "val", 2, segmentation=[[1, 2, 3]])
    splits["val"] = open_dataset(root, "val", task="instance")
    with pytest.raises(ValueError, match=rf"val2.jpg: annotation 2 .*3 numbers.*`srzoo data check {root}`"):
        check_quickly(splits, 2, str(root), may_be_void=True)


def test_the_quick_check_reads_some_and_warns_of_nothing(root):
    """A dataset may well have few objects; they are counted only by the full check."""
    change(root, "val", 1, category_id=7)
    change(root, "train", 0, bbox=[0, 0, 0, 0])
    splits = {split: open_dataset(root, split, task="instance") for split in ("train", "val")}
    report = check_splits(splits, 2, limit=2)
    assert (report.splits["train"].inspected, report.errors, report.warnings) == (2, [], [])
    change(root, "train", annotations=[{**GOOD, "id": 4, "image_id": 0, "segmentation": [[1, 2, 3, 4]]}])
    with pytest.raises(ValueError, match="no image of train .*annotation 4 "):
        check_quickly({"train": open_dataset(root, "train", task="instance")}, 2, str(root))


def test_a_rotation_that_cannot_be_told(root):
    path = root / "train" / "train0.jpg"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(path).save(path, exif=exif)
    (warning,) = check(root, task="instance").warnings
    assert re.search("1 image of train: EXIF .*annotation .*train0.jpg", warning)


def test_segments(write_panoptic):
    crowd = {"id": 5, "category_id": 7, "iscrowd": 1}
    root = write_panoptic([crowd, {"id": 300, "category_id": 200}, {"id": 70000, "category_id": 7}])
    write_panoptic([], np.zeros((7, 11, 3), np.uint8), "val")
    Image.fromarray(np.zeros((7, 11, 3), np.uint8)).save(root / "val" / "a.jpg")
    report = check(root, task="panoptic")
    assert report.errors == ["no image of val has a segment that can be learned"]
    lines = object_table(report)
    assert [line.split() for line in lines[:-1]] == [
        ["id", "class", "kind", "train", "pixels", "val", "pixels"],
        ["0", "car", "thing", "1", "+", "1", "crowds", "57.14%", "-", "-"],
        ["1", "sky", "stuff", "1", "28.57%", "-", "-"],
        ["-", "void", "14.29%", "100.00%"],
    ]
    assert lines[-1] == "1 of 1 images of val have no segment"
    assert report.warnings == []


def test_the_facades(facade):
    splits = {split: open_dataset(facade, split, task="instance") for split in ("train", "val")}
    report = check_splits(splits, 5)
    assert report.errors == report.warnings == []
    assert [report.splits["train"].objects[i] for i in range(5)] == [260, 9579, 1459, 124, 213]
    assert sum(report.splits["val"].objects.values()) == 2374
