"""COCO's JSON read for instances."""

import json
import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from srzoo.data.check import check
from srzoo.data.files import NoSplit
from srzoo.data.opening import open_dataset
from srzoo.data.rle import encode
from srzoo.labels.coco import COCO_CATEGORY_IDS, COCO_INSTANCE
from srzoo.labels.street import FACADE_INSTANCE

SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]  # x from 2 to 6, y from 1 to 5
INSIDE = [3, 2, 5, 2, 5, 4, 3, 4]
LINE = {"size": [7, 11], "counts": [6, 1, 70]}  # down the columns: the seventh pixel


def opened(root, split="train"):
    return open_dataset(root, split, task="instance")


def messages(root):
    report = check(root, task="instance")
    lost = [line for line in report.errors if "has no annotations" not in line]
    return lost, [line for line in report.warnings if "has no object" not in line]


def test_objects_have_boxes_classes_masks_and_crowds(write_coco):
    drawn = np.zeros((7, 11), np.uint8)
    drawn[1:5, 2:6], drawn[2:4, 3:5] = 1, 0  # with a hole
    compressed = {"size": [7, 11], "counts": encode(drawn)["counts"].decode()}
    annotations = [
        {"category_id": 90, "segmentation": [SQUARE], "bbox": [2.25, 1, 3.5, 4], "area": 15.5},
        {"category_id": 7, "segmentation": compressed},
        {"category_id": 90, "segmentation": LINE, "iscrowd": 1},
        {"category_id": 7, "segmentation": [INSIDE, [8, 0, 11, 0, 11, 2, 8, 2]], "area": 0},
    ]
    data = opened(write_coco(annotations))
    assert (data.format, data.labels.classes, data.labels.things) == ("coco", ("crop", "weed"), None)
    assert (data.category_ids, data.image_ids) == ((7, 90), [3])
    image, objects = data[0]
    assert image.shape == (7, 11, 3) and objects.size == (7, 11)
    assert objects.classes.tolist() == [1, 0, 1, 0]
    assert objects.boxes.tolist() == [[2.25, 1, 5.75, 5], [2, 1, 6, 5], [0, 6, 1, 7], [3, 0, 11, 4]]
    assert objects.crowd.tolist() == [False, False, True, False]
    assert objects.areas.tolist() == [15.5, 12, 1, 10]
    assert objects.ids == [0, 1, 2, 3]
    masks = objects.decode(range(4))
    assert (masks[1] == drawn).all()
    assert masks.sum((1, 2)).tolist() == [16, 12, 1, 10]
    assert data.examine(0)[1:] == ([], [])


def test_ids_with_gaps_in_any_order_are_kept_for_results(write_coco):
    categories = [{"id": 90, "name": "c"}, {"id": 0, "name": "a"}, {"id": 7, "name": "b"}]
    annotations = [{"category_id": id, "segmentation": [SQUARE]} for id in (7, 0, 90)]
    data = opened(write_coco(annotations, categories=categories))
    assert (data.labels.classes, data.category_ids) == (("a", "b", "c"), (0, 7, 90))
    classes = data.objects(0).classes
    assert [data.category_ids[i] for i in classes] == [7, 0, 90]
    assert data.identity()["category_ids"] == [0, 7, 90]


def test_an_image_without_objects_is_a_sample(write_coco):
    image, objects = opened(write_coco([]))[0]
    assert len(objects) == 0 and objects.size == image.shape[:2]


def test_one_class_is_enough(write_coco):
    annotations = [{"category_id": 90, "segmentation": [SQUARE]}]
    root = write_coco(annotations, categories=[{"id": 90, "name": "weed"}])
    assert open_dataset(root, "train", num_classes=1, task="instance").labels.classes == ("weed",)
    with pytest.raises(ValueError, match="num_classes=0: .* 1 to 4096"):
        open_dataset(root, "train", num_classes=0, task="instance")
    with pytest.raises(ValueError, match="1 classes, .* 2"):
        open_dataset(root, "train", num_classes=2, task="instance")


def test_categories_that_are_no_classes(write_coco):
    """Roboflow puts a root above all others, which has no annotations."""
    root_and_others = [
        {"id": 0, "name": "plants", "supercategory": "none"},
        {"id": 1, "name": "weed", "supercategory": "plants"},
        {"id": 2, "name": "background", "supercategory": "plants"},
    ]
    annotations = [{"category_id": id, "segmentation": [SQUARE]} for id in (1, 2)]
    root = write_coco(annotations, categories=root_and_others)
    data = opened(root)
    assert (data.labels.classes, data.category_ids) == (("weed",), (1,))
    _, warnings = messages(root)
    assert len(data.objects(0)) == 1
    assert re.search(r"a\.jpg: annotation 1 is of category 2, .*left out", warnings[0])
    own = [
        {"id": 0, "name": "pothole", "supercategory": "pothole"},
        {"id": 1, "name": "crack", "supercategory": "none"},
    ]
    assert opened(write_coco([], categories=own)).labels.classes == ("pothole", "crack")


def test_colours_of_categories_are_kept(write_coco):
    categories = [{"id": 1, "name": "a", "color": [9, 8, 7]}, {"id": 2, "name": "b", "color": [1, 2, 255]}]
    assert opened(write_coco([], categories=categories)).labels.palette == ((9, 8, 7), (1, 2, 255))
    named = [{"id": id, "name": name} for id, name in zip(COCO_CATEGORY_IDS, COCO_INSTANCE.classes)]
    assert opened(write_coco([], categories=named)).labels == COCO_INSTANCE
    categories[0]["color"] = [9, 8, 256]
    assert (9, 8, 256) not in opened(write_coco([], categories=categories)).labels.palette


def test_a_polygon_of_too_few_numbers_is_skipped_and_reported(write_coco):
    annotations = [
        {"category_id": 7, "segmentation": [[1, 2, 3, 4], SQUARE]},
        {"category_id": 7, "segmentation": [[1, 2, 3, 4]]},
    ]
    root = write_coco(annotations)
    assert opened(root).objects(0).ids == [0]
    errors, warnings = messages(root)
    assert errors == []
    for line, part in zip(
        warnings,
        ("annotation 0 has a polygon of 4 numbers, expected 6", "annotation 1 .* 4 .* 6", "annotation 1 .*pixel"),
    ):
        assert re.search(rf"instances_train2017.json:a.jpg: {part}", line)


@pytest.mark.parametrize(
    ("bbox", "said"),
    [
        ([3, 1, 0, 4], r"\[3, 1, 0, 4\] of width 0 "),
        ([6, 5, -4, -4], r"\[6, 5, -4, -4\] of width -4 and height -4"),
        ([2, 1, 0.01, 4], r"\[2, 1, 0.01, 4\], less than one pixel of the image of 11x7"),
        ([float("nan"), 1, 4, 4], r"\[nan, 1, 4, 4\].*finite"),
        ([2, 1, float("inf"), 4], r"inf.*finite"),
        ([2, 1, 10**400, 4], "finite"),
        ([40, 30, 4, 4], r"\[40, 30, 4, 4\]"),
        ([0.2, 0.1, 0.4, 0.6], r"\[0.2, 0.1, 0.4, 0.6\]"),
        ([0, 0, 11, 7], r"\[0, 0, 11, 7\].*mask is in \[2.0, 1.0, 4.0, 4.0\]"),
        ([2, 1, 6], "four"),
        ("2 1 6 5", "four"),
        (["2", 1, 4, 4], "four"),
    ],
)
def test_a_bad_box_is_named_with_its_coordinates_and_replaced(write_coco, bbox, said):
    root = write_coco([{"category_id": 7, "segmentation": [SQUARE], "bbox": bbox, "id": 41}])
    assert opened(root).objects(0).boxes.tolist() == [[2, 1, 6, 5]]
    errors, (warning,) = messages(root)
    assert errors == []
    assert re.search(rf"a.jpg: annotation 41 has the bbox .*{said}.*the mask's box", warning)


def test_corners_for_width_and_height_are_recognized(tmp_path, write_image, write_coco):
    root = write_coco(
        [{"category_id": 7, "segmentation": [[60, 50, 80, 50, 80, 90, 60, 90]], "bbox": [60, 50, 80, 90]}]
    )
    write_image(tmp_path / "train2017" / "a.jpg", 100, 200)
    file = root / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["images"][0].update(width=200, height=100)
    file.write_text(json.dumps(content))
    assert opened(root).objects(0).boxes.tolist() == [[60, 50, 80, 90]]
    _, (warning,) = messages(root)
    assert "x0, y0, x1, y1, expected x, y, width, height" in warning


def test_a_box_at_and_over_the_border(write_coco):
    """The box on the right border is not empty (mmdet#370)."""
    corner = [9, 0, 11, 0, 11, 7, 9, 7]
    annotations = [
        {"category_id": 7, "segmentation": [corner], "bbox": [9, 0, 2, 7]},
        {"category_id": 7, "segmentation": [corner], "bbox": [9, 0, 2.5, 7]},
        {"category_id": 7, "segmentation": [corner], "bbox": [9, 0, 4, 7]},
    ]
    root = write_coco(annotations)
    assert opened(root).objects(0).boxes.tolist() == [[9, 0, 11, 7]] * 3
    _, (warning,) = messages(root)
    assert re.search(r"annotation 2 .*2 pixels outside of the image of 11x7; it is cut", warning)


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ([[3, 3, 3, 3, 3, 3]], "bbox \\[3, 3, 0, 0\\], x from 3 to 3, y from 3 to 3"),
        ([[20, 1, 21, 1, 21, 5]], "11x7: .*x from 20 to 21"),
        ({"size": [7, 11], "counts": [77]}, "bbox \\[3, 3, 0, 0\\]"),
    ],
)
def test_an_object_without_pixels_is_left_out_and_named(write_coco, segmentation, said):
    root = write_coco([{"category_id": 7, "segmentation": segmentation, "bbox": [3, 3, 0, 0]}])
    assert len(opened(root).objects(0)) == 0
    errors, (warning,) = messages(root)
    assert re.search(rf"a.jpg: annotation 0 has no pixel .*{said}", warning)
    assert re.search("no image of train has an object .*annotation 0 has no pixel", errors[0])


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"category_id": 8, "segmentation": [SQUARE]}, "category 8.*known: 7, 90"),
        ({"category_id": "7", "segmentation": [SQUARE]}, "category '7'.*known: 7, 90"),
        ({"category_id": [7], "segmentation": [SQUARE]}, r"category \[7\]"),
        ({"segmentation": [SQUARE]}, "category None"),
        ({"category_id": float("nan"), "segmentation": [SQUARE]}, "category nan.*known: 7, 90"),
        ({"category_id": 7, "bbox": [2, 1, 0, 4]}, "no segmentation"),
        ({"category_id": 7, "bbox": [2, 1, 4]}, "no segmentation"),
        ({"category_id": 7, "segmentation": [[float("nan"), *SQUARE[1:]]]}, "nan"),
        ({"category_id": 7, "segmentation": {"size": [11, 7], "counts": [77]}}, "swapped"),
    ],
)
def test_a_bad_annotation_is_refused_by_file_and_id(write_coco, annotation, said):
    good = {"category_id": 7, "segmentation": [SQUARE]}
    root = write_coco([good, {**annotation, "id": 55}, good])
    errors, _ = messages(root)
    assert len(errors) == 1
    assert re.search(rf"instances_train2017.json:a.jpg: annotation 55 .*{said}", errors[0])
    with pytest.raises(ValueError, match=rf"annotation 55 .*{said}"):
        opened(root)[0]


def test_every_bad_annotation_is_named_at_once(write_coco):
    bad = [{"category_id": 8, "segmentation": [SQUARE]}, {"category_id": 7}, {"category_id": 9}]
    root = write_coco(bad)
    errors, _ = messages(root)
    assert [re.search(r"annotation (\d)", error)[1] for error in errors] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="annotation 0 .*, and 2 more"):
        opened(root)[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"categories": [{"id": 7, "name": "a"}, {"id": 7, "name": "b"}]}, "1 ids of its 'categories' .* 7"),
        ({"images": [{"id": 3, "file_name": "a.jpg", "width": 11, "height": 7}] * 2}, "1 ids of its 'images' .* 3"),
        ({"categories": [{"id": 7, "name": 5}]}, "category 7 has the name 5"),
        ({"categories": []}, "0 classes, expected 1"),
        ({"categories": [{"id": 7, "name": "a"}, {"id": 8, "name": "a"}]}, "'a' is named twice"),
    ],
)
def test_a_file_that_says_two_things_at_once(write_coco, content, said):
    with pytest.raises(ValueError, match=rf"instances_train2017.json: .*{said}"):
        opened(write_coco([], **content))


@pytest.mark.parametrize("id", [float("nan"), float("inf"), None, True, [7]])
def test_ids_are_finite_numbers_or_text(write_coco, id):
    """NaN would be written to results, which then are no JSON; True would be the same category as 1."""
    with pytest.raises(ValueError, match=rf"train2017.json .*categories\[0\] has id {re.escape(str(id))}, .*finite"):
        opened(write_coco([], categories=[{"id": id, "name": "weed"}]))
    image = {"id": id, "file_name": "a.jpg", "width": 11, "height": 7}
    with pytest.raises(ValueError, match=rf"images\[0\] has id {re.escape(str(id))}, .*finite"):
        opened(write_coco([], images=[image]))
    root = write_coco([{"category_id": id, "segmentation": [SQUARE]}], categories=[{"id": 1, "name": "weed"}])
    with pytest.raises(ValueError, match=rf"category {re.escape(str(id))}, .*known: 1"):
        opened(root)[0]


def test_ids_and_images_that_repeat_are_reported(write_coco):
    good = {"category_id": 7, "segmentation": [SQUARE], "id": 5}
    images = [{"id": id, "file_name": "a.jpg", "width": 11, "height": 7} for id in (3, 4)]
    root = write_coco([good, good], images=images)
    write_coco([good, good], "annotations/instances_val2017.json", images=images)
    assert len(opened(root)) == 2
    _, warnings = messages(root)
    assert re.search("1 images are listed more than once, the first a.jpg", warnings[0])
    assert re.search("1 ids of its 'annotations' .* 5", warnings[1])


def test_an_image_that_exif_rotates(tmp_path, write_coco):
    """Boxes fit the picture as it is shown, if the file was annotated so; else the file is named, and what to do."""
    root = write_coco([{"category_id": 7, "segmentation": [SQUARE]}])
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "train2017" / "a.jpg"
    Image.new("RGB", (7, 11)).save(path, exif=exif)  # shown as 11x7
    image, objects = opened(root)[0]
    assert image.shape[:2] == objects.size == (7, 11)
    Image.new("RGB", (11, 7)).save(path, exif=exif)  # shown as 7x11
    errors, _ = messages(root)
    assert len(errors) == 1
    assert re.search(r"a.jpg is 7x11, its annotation .*a.jpg 11x7; .*EXIF.*rotate", errors[0])
    with pytest.raises(ValueError, match="EXIF"):
        opened(root)[0]


def test_cvat_s_file_without_splits(tmp_path, write_image, write_coco):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 11, "height": 7} for i in range(6)]
    for i in range(6):
        write_image(tmp_path / "images" / f"{i}.jpg")
    root = write_coco([], "annotations/instances_default.json", "images", images=images)
    with pytest.warns(UserWarning, match="1 of 6 images"):
        assert opened(root, "val").image_ids == [5]
    assert opened(root).image_ids == [0, 1, 2, 3, 4]
    assert len(open_dataset(root, "train")) == 5  # masks, too
    with pytest.raises(NoSplit, match="'test'"):
        opened(root, "test")
    write_coco([], "annotations/train.json", "images")
    with pytest.raises(NoSplit, match="'val'"):
        opened(root, "val")


def test_roboflow_s_images_in_a_folder_beside_the_file(write_coco):
    annotations = [{"category_id": 7, "segmentation": [SQUARE]}]
    root = write_coco(annotations, "valid/_annotations.coco.json", "valid/images")
    assert opened(root, "val").image_file(0) == root / "valid" / "images" / "a.jpg"


def test_a_digest_changes_with_the_annotations(write_coco):
    good = {"category_id": 7, "segmentation": [SQUARE]}
    before = opened(write_coco([good])).digest()
    assert opened(write_coco([good])).digest() == before
    assert opened(write_coco([{**good, "iscrowd": 1}])).digest() != before


def test_files_and_arguments(write_coco):
    root = write_coco([])
    data = opened(root)
    assert data.files() == [root / "train2017" / "a.jpg", root / "annotations" / "instances_train2017.json"]
    assert data.arguments()[:2] == ["--data.format", "coco"]
    assert data.facts()["id_map"] is None


def test_an_id_map_is_not_for_objects(write_coco):
    with pytest.raises(ValueError, match="'instance'"):
        open_dataset(write_coco([]), "train", id_map={0: 1}, task="instance")


def test_the_facades(facade):
    data = opened(facade, "val")
    assert (data.format, len(data), data.category_ids) == ("coco", 87, (1, 2, 3, 4, 5))
    assert data.labels == FACADE_INSTANCE
    objects = [data.objects(i) for i in range(len(data))]
    assert sum(map(len, objects)) == 2374
    assert not any(any(data.examine(i)[1:]) for i in range(len(data)))
    boxes = np.concatenate([each.boxes for each in objects])
    assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0 and boxes.max() <= 640


def test_more_classes_than_a_mask_can_hold(tmp_path, write_image):
    """LVIS has 1203: objects have no masks of ids, but masks drawn for semantic segmentation would."""
    write_image(tmp_path / "train" / "a.jpg")
    content = {
        "images": [{"id": 3, "file_name": "a.jpg", "width": 11, "height": 7}],
        "categories": [{"id": i, "name": f"n{i}"} for i in range(1, 1204)],
        "annotations": [{"id": 1, "image_id": 3, "category_id": 1203, "segmentation": [SQUARE]}],
    }
    (tmp_path / "lvis_v1_train.json").write_text(json.dumps(content))
    data = opened(tmp_path)
    assert len(data.labels.classes) == 1203
    assert data[0].objects.classes.tolist() == [1202]
    with pytest.raises(ValueError, match="1204 classes, expected 2 to 254"):
        open_dataset(tmp_path, "train")
    assert len(open_dataset(tmp_path, "train", task="instance", num_classes=1203).labels.classes) == 1203


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("folder", ["", "façade/"])
def test_file_names_in_another_form_of_unicode(write_coco, tmp_path, listed, stored, folder):
    """A folder that was packed on a Mac keeps letter and accent apart, and a program writes them as one character."""
    name = f"{folder}é1.jpg"
    root = write_coco([{"category_id": 7, "segmentation": [SQUARE]}])
    file = next((root / "annotations").iterdir())
    content = json.loads(file.read_text())
    image = root / "train2017" / content["images"][0]["file_name"]
    target = root / "train2017" / unicodedata.normalize(stored, name)
    target.parent.mkdir(exist_ok=True)
    image.rename(target)
    content["images"][0]["file_name"] = unicodedata.normalize(listed, name)
    file.write_text(json.dumps(content))
    assert opened(root).image_file(0) == target
