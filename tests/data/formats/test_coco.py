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
    with pytest.raises(ValueError, match=r"instances_train2017.json:a.jpg: annotation 0 .*category 8.*known: 7, 90"):
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
    write_coco([])
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
    records = read_records(root / "annotations" / "instances_train2017.json", [root / "train2017"])
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
    with pytest.raises(ImportError, match=r"pip install pycocotools"):
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


def test_what_is_on_top_is_told_by_the_pixels_not_by_the_file(write_coco):
    """Tools leave areas out, write 0, or those of boxes."""
    for areas in ((16, 4), (4, 16), (0, 0), (None, None), (float("nan"), 4)):
        both = [{"category_id": c, "segmentation": [p], "area": a} for c, p, a in zip((90, 7), (SQUARE, INSIDE), areas)]
        for annotations in (both, both[::-1]):
            ids = open_dataset(write_coco(annotations), "train").ids(0)
            assert ids[1:5, 2:6].tolist() == [[2, 2, 2, 2], [2, 1, 1, 2], [2, 1, 1, 2], [2, 2, 2, 2]]


BOX = [2, 1, 4, 4]  # of SQUARE


@pytest.mark.parametrize("task", ["semantic", "instance"])
@pytest.mark.parametrize(
    "annotation",
    [
        {"segmentation": []},
        {"segmentation": None},
        {"segmentation": {}},
        {"segmentation": ""},
        {},
        {"segmentation": [[]]},
        {"segmentation": [[2, 1, 6, 5]]},  # two corners
        {"segmentation": [[2, 1, 6, 5], [1, 2]], "iscrowd": "0"},
    ],
    ids=str,
)
def test_a_box_without_a_polygon_is_drawn_and_said(write_coco, annotation, task):
    root = write_coco([{"category_id": 90, "bbox": BOX, **annotation}, {"category_id": 7, "segmentation": [INSIDE]}])
    data = open_dataset(root, "train", task=task)
    found, errors, warnings = data.examine(0)
    mask = found if task == "semantic" else found.decode([0])[0]
    assert (mask[1:5, 2:6] > 0).all() and (mask > 0).sum() == 16
    assert errors == [] and re.search("a.jpg: annotation 0 has a box and no polygon; the box is taken", warnings[-1])
    report = check(root, task=task)
    assert any("annotation 0 has a box and no polygon" in line for line in report.warnings)


@pytest.mark.parametrize("points", [[[2, 1], [6, 1], [6, 5], [2, 5]]], ids=str)
def test_the_points_of_a_polygon(write_coco, points):
    ids = open_dataset(write_coco([{"category_id": 7, "segmentation": points}]), "train").ids(0)
    assert (ids[1:5, 2:6] == 1).all() and ids.sum() == 16


@pytest.mark.parametrize("task", ["semantic", "instance"])
@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ({"counts": [70, 5], "size": [7, 11]}, "75 pixels, expected 77"),
        ({"counts": [3], "size": [7, 11]}, "3 pixels, expected 77"),
        ({"counts": [77], "size": [11, 7]}, "swapped"),
        ({"counts": "d0", "size": [400000, 500000]}, r"\[400000, 500000\], expected"),
        ({"counts": "d0", "size": [-1, -1]}, r"\[-1, -1\], expected"),
        ({"counts": [77], "size": [2**40, 2**40]}, "expected"),
        ({"counts": [7.5, 69.5], "size": [7, 11]}, "cannot be read"),
        ({"counts": "random text", "size": [7, 11]}, "run lengths"),
        ([{"counts": [3]}], "not a list of numbers"),
        ([[1e8, 1, 26, 1, 26, 15, 2, 15]], "x 1e.08 .* far outside"),
        ([[float("nan"), 1, 26, 1, 26, 15]], "nan"),
        ([[float("inf"), 1, 26, 1, 26, 15]], "inf"),
        ([[10**400, 1, 26, 1, 26, 15]], "x 1000"),
        (7, "type int"),
        ("polygon", "type str"),
        ([None], "None"),
        ([["1", "2", "3", "4", "5", "6"]], "'1'"),
    ],
    ids=str,
)
def test_geometry_that_cannot_be_drawn_is_named(write_coco, segmentation, said, task):
    root = write_coco([{"id": 55, "category_id": 7, "segmentation": segmentation}])
    with pytest.raises(ValueError, match=rf"instances_train2017.json:a.jpg: annotation 55 .*{said}") as caught:
        open_dataset(root, "train", task=task)[0]
    assert "Error" not in str(caught.value) and str(caught.value).isprintable()
    assert any("annotation 55" in line for line in check(root, task=task).errors)


def test_run_lengths_of_nothing(write_coco):
    root = write_coco([{"category_id": 7, "segmentation": {"counts": [], "size": [7, 11]}}])
    found, errors, (warning,) = open_dataset(root, "train").examine(0)
    assert not found.any() and errors == [] and "no pixel" in warning


def test_an_outline_beyond_memory_is_refused(write_coco):
    images = [{"id": 3, "file_name": "a.jpg", "width": 170_000_000, "height": 1}]
    long = {"category_id": 7, "segmentation": [[0, 0, 1.6e8, 0, 1.6e8, 1, 0, 1]]}
    with pytest.raises(ValueError, match="annotation 0 has a polygon with an outline of 3200000.. pixels, .* 4194304"):
        open_dataset(write_coco([long], images=images), "train")[0]


@pytest.mark.parametrize("task", ["semantic", "instance"])
@pytest.mark.parametrize("root_name", ["fish", "animals"])
def test_roboflow_s_root_is_no_class(write_coco, root_name, task):
    fish = {"id": 1, "name": "fish", "supercategory": root_name}
    categories = [{"id": 0, "name": root_name, "supercategory": "none"}, fish]
    data = open_dataset(
        write_coco([{"category_id": 1, "segmentation": [SQUARE]}], categories=categories), "train", task=task
    )
    assert data.labels.classes == (("background", "fish") if task == "semantic" else ("fish",))
    if root_name == "animals":  # in use, it is one
        own = open_dataset(
            write_coco([{"category_id": 0, "segmentation": [SQUARE]}], categories=categories), "train", task=task
        )
        assert own.labels.classes[-2:] == ("animals", "fish")
    # COCO's own categories are not above each other.
    own = [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 2, "name": "car", "supercategory": "vehicle"}]
    assert open_dataset(write_coco([], categories=own), "train", task=task).labels.classes[-2:] == ("person", "car")


@pytest.mark.parametrize("ids", [(0, 1), (-5, 10**30), ("a", "b"), (1.5, 2.5), (1000, 2)], ids=str)
def test_ids_of_categories_of_any_kind(write_coco, ids):
    categories = [{"id": id, "name": str(i)} for i, id in enumerate(ids)]
    annotations = [{"category_id": id, "segmentation": [SQUARE]} for id in ids[:1]]
    data = open_dataset(write_coco(annotations, categories=categories), "train")
    assert data.labels.classes[data.ids(0).max()] == "0"


@pytest.mark.parametrize("name", [5, None, ["a"]])
def test_a_category_s_name_that_is_no_text(write_coco, name):
    with pytest.raises(ValueError, match=rf"category 7 has the name {re.escape(repr(name))}, expected text"):
        open_dataset(write_coco([], categories=[{"id": 7, "name": name}]), "train")


@pytest.mark.parametrize("name", ["Background", "__background__", "_background_"])
def test_other_spellings_of_background(write_coco, name):
    categories = [{"id": 0, "name": name}, {"id": 90, "name": "weed"}]
    assert open_dataset(write_coco([], categories=categories), "train").labels.classes == ("background", "weed")


def test_ids_of_images_that_repeat_are_refused_for_masks_too(write_coco):
    images = [{"id": 3, "file_name": "a.jpg", "width": 11, "height": 7}] * 2
    with pytest.raises(ValueError, match="1 ids of its 'images' .* 3"):
        open_dataset(write_coco([], images=images), "train")


@pytest.mark.parametrize("value", [2, "yes", [0], 0.5])
def test_a_crowd_is_0_or_1(write_coco, value):
    with pytest.raises(ValueError, match=rf"annotations\[0\] has iscrowd {re.escape(repr(value))}, expected 0 or 1"):
        open_dataset(write_coco([{"category_id": 7, "segmentation": [SQUARE], "iscrowd": value}]), "train")


@pytest.mark.parametrize(
    "name",
    [
        "images/a.jpg",
        "images\\a.jpg",
        "./a.jpg",
        "/home/someone/data/a.jpg",
        "C:\\data\\a.jpg",
        "../../upload/1/a.jpg",
        "https://host/bucket/a.jpg?token=1",
        "s3://bucket/a.jpg",
    ],
)
def test_names_with_folders_of_another_machine(write_coco, name):
    images = [{"id": 3, "file_name": name, "width": 11, "height": 7}]
    root = write_coco([], "annotations/instances_train.json", "images", images=images)
    assert open_dataset(root, "train").image_file(0) == root / "images" / "a.jpg"


def test_images_in_folders_below(write_coco, write_image):
    images = [{"id": i, "file_name": name, "width": 11, "height": 7} for i, name in enumerate(["b.jpg", "x/c.jpg"])]
    root = write_coco([], "annotations/instances_train.json", "images", images=images)
    for name in ("one/b.jpg", "two/x/c.jpg"):
        write_image(root / "images" / name)
    with pytest.warns(UserWarning, match="1 of 2 images"):
        splits = [open_dataset(root, split) for split in ("train", "val")]
    names = [data.image_file(0).relative_to(root / "images").as_posix() for data in splits]
    assert sorted(names) == ["one/b.jpg", "two/x/c.jpg"]
    write_image(root / "images" / "three" / "b.jpg")  # either could be meant
    with pytest.raises(FileNotFoundError, match=r"b.jpg is in instances_train.json, but"):
        open_dataset(root, "train")


def test_two_names_of_one_file(write_coco):
    images = [{"id": i, "file_name": f"{i}/a.jpg", "width": 11, "height": 7} for i in (1, 2)]
    with pytest.raises(FileNotFoundError, match=r"a.jpg could be 2 images of instances_train2017.json"):
        open_dataset(write_coco([], images=images), "train")


def test_no_file_outside_of_the_dataset_is_opened(write_coco, tmp_path, write_image):
    secret = write_image(tmp_path.parent / f"{tmp_path.name}_secret.png")
    for name in (str(secret), f"../../{secret.name}", f"..\\..\\{secret.name}"):
        images = [{"id": 3, "file_name": name, "width": 11, "height": 7}]
        with pytest.raises(FileNotFoundError, match="no such file"):
            open_dataset(write_coco([], images=images), "train")


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_default.json", "images/default"),
        ("result.json", "images"),
        ("annotations/export 3.json", "images"),
        ("_annotations.coco.json", "."),
        ("coco.json", "photos"),
    ],
)
def test_one_file_without_splits(write_coco, write_image, file, folder):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 11, "height": 7} for i in range(6)]
    root = write_coco([{"image_id": 0, "category_id": 7, "segmentation": [SQUARE]}], file, folder, images=images)
    for i in range(6):
        write_image(root / folder / f"{i}.jpg")
    (root / "meta.json").write_text("{}")
    with pytest.warns(UserWarning, match="1 of 6 images"):
        data = open_dataset(root, "val")
    assert (data.format, len(data), data.image_file(0).name) == ("coco", 1, "5.jpg")
    assert len(open_dataset(root, "train")) == 5


@pytest.mark.parametrize(("split", "folder"), [("Train", "Train"), ("Train", "images/Train"), ("TRAIN", "images")])
def test_splits_in_capitals(write_coco, split, folder):
    root = write_coco([], f"annotations/instances_{split}.json", folder)
    assert len(open_dataset(root, "train")) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_of_json(write_coco, encoding):
    root = write_coco([], categories=[{"id": 7, "name": "Löwenzahn"}])
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(json.dumps(json.loads(file.read_text()), ensure_ascii=False), encoding=encoding)
    assert open_dataset(root, "train").labels.classes[1] == "Löwenzahn"


@pytest.mark.parametrize("content", ["[" * 100_000, '{"images": ' * 50_000, "\xff", "1" * 5000, "", "null", "3"])
def test_json_that_is_none(write_coco, content):
    root = write_coco([])
    (root / "annotations" / "instances_train2017.json").write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match="instances_train2017.json is not COCO's JSON: "):
        open_dataset(root, "train")


def test_images_by_their_address_as_in_lvis(write_coco):
    root = write_coco([{"category_id": 90, "segmentation": [SQUARE]}], "lvis_v1_train.json")
    content = json.loads((root / "lvis_v1_train.json").read_text())
    del content["images"][0]["file_name"]
    content["images"][0]["coco_url"] = "http://images.cocodataset.org/train2017/a.jpg"
    (root / "lvis_v1_train.json").write_text(json.dumps(content))
    assert [path.name for path in open_dataset(root, "train").files()] == ["a.jpg", "lvis_v1_train.json"]


@pytest.mark.filterwarnings("default:.*has no split for val")
def test_of_several_files_that_of_the_usual_name_is_read(write_coco):
    root = write_coco([{"category_id": 90, "segmentation": [SQUARE]}], "annotations.json")
    (root / "annotations_more.json").write_text((root / "annotations.json").read_text())
    assert open_dataset(root, "train").file.name == "annotations.json"
    (root / "annotations.json").rename(root / "annotations_less.json")
    with pytest.raises(ValueError, match="COCO's: name it annotations/instances_train.json"):
        open_dataset(root, "train")
