import json
import re

import numpy as np
import pytest

from srzoo.data.check import check
from srzoo.data.formats.coco_records import Annotation, read_records
from srzoo.data.opening import open_dataset

SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]  # x from 2 to 6, y from 1 to 5
INSIDE = [3, 2, 5, 2, 5, 4, 3, 4]
CATEGORIES = [{"id": 90, "name": "weed"}, {"id": 7, "name": "crop"}]


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/train.json", "images"),
        ("annotations/instances_train.json", "images/train"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_polygons_become_a_mask(write_coco, file, folder):
    dataset = open_dataset(write_coco([{"category_id": 90, "segmentation": [SQUARE]}], file, folder), "train")
    assert dataset.format == "coco"
    assert dataset.labels.classes == ("background", "crop", "weed")
    image, ids = dataset[0]
    assert image.shape == (7, 11, 3)
    expected = np.zeros((7, 11), int)
    expected[1:5, 2:6] = 2
    assert (ids == expected).all()


def test_the_smaller_of_two_objects_is_on_top(write_coco):
    small, large = (
        {"category_id": c, "segmentation": [p], "area": a} for c, p, a in ((7, INSIDE, 4), (90, SQUARE, 16))
    )
    dataset = open_dataset(write_coco([small, large]), "train")
    assert dataset.ids(0)[1:5, 2:6].tolist() == [[2, 2, 2, 2], [2, 1, 1, 2], [2, 1, 1, 2], [2, 2, 2, 2]]


def test_run_lengths_and_several_polygons(write_coco):
    from pycocotools import mask as rle

    drawn = np.zeros((7, 11), np.uint8, order="F")
    drawn[6, 8:] = 1
    compressed = rle.encode(drawn)
    runs = {"size": [7, 11], "counts": [6, 1, 70]}  # down the columns: the seventh pixel
    annotations = [
        {"category_id": 7, "segmentation": {**compressed, "counts": compressed["counts"].decode()}},
        {"category_id": 7, "segmentation": runs, "iscrowd": 1},
        {"category_id": 90, "segmentation": [INSIDE, [8, 0, 11, 0, 11, 2, 8, 2]]},
    ]
    ids = open_dataset(write_coco(annotations), "train").ids(0)
    assert ids[6].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    assert (ids == 2).sum() == 4 + 6
    assert ids[0, 10] == 2


def test_an_image_without_objects_is_background(write_coco):
    assert (open_dataset(write_coco([]), "train").ids(0) == 0).all()


def test_splits_with_categories_of_their_own(write_coco):
    annotations = [{"category_id": 7, "segmentation": [SQUARE]}]
    root = write_coco(annotations)
    write_coco(annotations, "annotations/instances_val2017.json", "val2017")
    assert check(root).errors == []
    write_coco(annotations, "annotations/instances_val2017.json", "val2017", categories=CATEGORIES[1:])
    (error,) = check(root).errors
    assert re.search("^val .* classes .* train$", error)


def test_errors_name_the_file(write_coco, write_image):
    root = write_coco([{"category_id": 8, "segmentation": [SQUARE]}])
    with pytest.raises(ValueError, match=r"instances_train2017.json:a.jpg: annotation 0 .*\(KeyError: 8\)"):
        open_dataset(root, "train")[0]
    write_image(root / "train2017" / "a.jpg", 11, 7)
    write_coco([], images=[{"id": 3, "file_name": "a.jpg", "width": 12, "height": 7}])
    with pytest.raises(ValueError, match=r"a.jpg is 11x7, its mask .* 12x7"):
        open_dataset(root, "train")[0]
    write_coco([], images=[{"id": 3, "file_name": "b.jpg", "width": 11, "height": 7}])
    with pytest.raises(FileNotFoundError, match=r"train2017/b.jpg is in instances_train2017.json"):
        open_dataset(root, "train")
    (root / "annotations" / "instances_train2017.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"instances_train2017.json .* 'categories'"):
        open_dataset(root, "train")
    with pytest.raises(FileNotFoundError, match="'val'.*instances_<split>2017.json"):
        open_dataset(root, "val")


def test_annotations_of_images_that_are_not_listed(write_coco):
    lost = {"category_id": 7, "segmentation": [SQUARE], "image_id": "3"}
    root = write_coco([lost, {"category_id": 90, "segmentation": [SQUARE]}])
    with pytest.raises(FileNotFoundError, match=r"1 annotations of .*2017.json .* '3'; an image_id"):
        open_dataset(root, "train")


@pytest.mark.parametrize(
    ("content", "record", "said"),
    [
        ({"images": [{"id": 3, "width": 11, "height": 7}]}, "images[0]", "'file_name'"),
        ({"images": [{"file_name": "a.jpg", "width": 11, "height": 7}]}, "images[0]", "'id'"),
        ({"images": [{"id": 3, "file_name": "a.jpg", "height": 7}]}, "images[0]", "'width'"),
        ({"images": [{"id": 3, "file_name": 4, "width": 11, "height": 7}]}, "images[0]", "file_name 4"),
        ({"images": [{"id": [3], "file_name": "a.jpg", "width": 11, "height": 7}]}, "images[0]", "id [3]"),
        ({"categories": [*CATEGORIES, {"id": 8}]}, "categories[2]", "'name'"),
        ({"categories": [*CATEGORIES, {"id": "8", "name": "stone"}]}, "categories", "[90, 7, '8']"),
        ({"annotations": [{"image_id": 3}, {"id": 1}]}, "annotations[1]", "'image_id'"),
        ({"annotations": [{"image_id": 3, "area": "16"}]}, "annotations[0]", "area '16'"),
        ({"annotations": ["3"]}, "annotations[0]", "'image_id'"),
        ({"annotations": {"3": []}}, "'annotations'", "dict"),
    ],
)
def test_a_bad_record_is_named_with_its_key(write_coco, content, record, said):
    root = write_coco([])
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **content}))
    with pytest.raises(ValueError, match=rf"instances_train2017.json .*{re.escape(record)}.*{re.escape(said)}"):
        open_dataset(root, "train")


def test_other_json_and_no_json(write_coco):
    root = write_coco([])
    file = root / "annotations" / "instances_train2017.json"
    file.write_text("[]")
    with pytest.raises(ValueError, match=r"instances_train2017.json .* 'categories'"):
        open_dataset(root, "train")
    file.write_text("{")
    with pytest.raises(ValueError, match=r"instances_train2017.json .* line 1 column 2"):
        open_dataset(root, "train")


def test_the_records_keep_each_instance(write_coco):
    """What a reader of instances needs, and masks do not show: identities, boxes and crowds, in the file's order."""
    small = {"category_id": 7, "segmentation": [INSIDE], "area": 4, "bbox": [3, 2, 2, 2]}
    crowd = {"category_id": 90, "segmentation": {"size": [7, 11], "counts": [6, 1, 70]}, "iscrowd": 1}
    root = write_coco([small, crowd])
    records = read_records(root / "annotations" / "instances_train2017.json", root / "train2017")
    assert [(category.id, category.name) for category in records.categories] == [(7, "crop"), (90, "weed")]
    assert records.problems == []
    (image,) = records.images
    assert (image.id, image.path, image.width, image.height) == (3, root / "train2017" / "a.jpg", 11, 7)
    assert image.annotations == [
        Annotation(0, 7, [INSIDE], [3, 2, 2, 2], 4, False),
        Annotation(1, 90, crowd["segmentation"], None, None, True),
    ]


def test_the_json_file_is_one_of_the_dataset_s(write_coco):
    root = write_coco([])
    files = open_dataset(root, "train").files()
    assert files == [root / "train2017" / "a.jpg", root / "annotations" / "instances_train2017.json"]


def test_json_with_a_byte_order_mark(write_coco):
    root = write_coco([])
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert len(open_dataset(root, "train")) == 1


def test_without_pycocotools(write_coco, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    dataset = open_dataset(write_coco([{"category_id": 7, "segmentation": [SQUARE]}]), "train")
    with pytest.raises(RuntimeError, match=r"pip install pycocotools"):
        dataset[0]


def test_a_category_of_background_is_the_background(write_coco):
    categories = [{"id": 0, "name": "background"}, {"id": 90, "name": "weed"}]
    annotations = [{"category_id": 90, "segmentation": [SQUARE]}, {"category_id": 0, "segmentation": [INSIDE]}]
    dataset = open_dataset(write_coco(annotations, categories=categories), "train")
    assert dataset.labels.classes == ("background", "weed")
    assert dataset.ids(0)[1:5, 2:6].tolist() == [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]


def test_a_name_that_no_file_can_have(write_coco):
    images = [{"id": 3, "file_name": "a" * 5000, "width": 11, "height": 7}]
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        open_dataset(write_coco([], images=images), "train")


def test_more_pixels_than_an_image_can_have(write_coco):
    images = [{"id": 3, "file_name": "a.jpg", "width": 10**60, "height": 7}]
    with pytest.raises(ValueError, match=r"images\[0\] .a.jpg. has 7000.* pixels, .* 178,956,970"):
        open_dataset(write_coco([], images=images), "train")


@pytest.mark.parametrize("width", [None, "wide", -3])
def test_a_size_that_is_none(write_coco, width):
    images = [{"id": 3, "file_name": "a.jpg", "width": width, "height": 7}]
    with pytest.raises(ValueError, match=rf"instances_train2017.json .*images\[0\] .a.jpg. has width {width!r}, .* 1 "):
        open_dataset(write_coco([], images=images), "train")


def test_a_polygon_that_is_none(write_coco):
    root = write_coco([{"category_id": 7, "segmentation": [[1, 2, 3]]}])
    with pytest.raises(ValueError, match="a.jpg: annotation 0 "):
        open_dataset(root, "train")[0]
