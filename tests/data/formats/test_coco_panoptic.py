import re

import numpy as np
import pytest
from PIL import Image

from srzoo.data.check import check
from srzoo.data.files import NoSplit
from srzoo.data.objects import Segment
from srzoo.data.opening import detect_format, open_dataset
from srzoo.labels.street import FACADE_PANOPTIC, FACADE_SEMANTIC

SEGMENTS = [
    {"id": 5, "category_id": 7, "iscrowd": 1},
    {"id": 300, "category_id": 200},
    {"id": 70000, "category_id": 7, "iscrowd": 0, "area": 3},
]


def opened(root, split="train"):
    return open_dataset(root, split, task="panoptic")


def messages(root):
    report = check(root, task="panoptic")
    return [line for line in report.errors if "'val'" not in line], report.warnings


def test_ids_and_segments(write_panoptic):
    data = opened(write_panoptic(SEGMENTS))
    assert (data.format, data.labels.classes, data.labels.things) == ("coco_panoptic", ("car", "sky"), (True, False))
    assert (data.labels.palette, data.category_ids, data.image_ids) == (((4, 5, 6), (1, 2, 3)), (7, 200), [3])
    image, ids, segments = data[0]
    assert image.shape == (7, 11, 3) and ids.dtype == np.int32
    assert ids[:, 10].tolist() == [0, 5, 5, 300, 300, 70000, 70000]
    assert segments == [Segment(5, 0, True, 22), Segment(300, 1, False, 22), Segment(70000, 0, False, 22)]
    assert messages(data.file.parents[1]) == ([], [])


@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
def test_a_part_of_the_images_keeps_their_annotations(task, facade):
    data = open_dataset(facade, "val", task=task)
    part = data.select([4, 2])
    assert len(part) == 2
    assert part.image_names() == [data.image_name(4), data.image_name(2)]
    assert [part.target_bytes(i) for i in range(2)] == [data.target_bytes(i) for i in (4, 2)]
    if task != "semantic":
        assert part.image_ids == [data.image_ids[4], data.image_ids[2]]


def test_an_image_that_is_void_throughout(write_panoptic):
    _, ids, segments = opened(write_panoptic([], np.zeros((7, 11, 3), np.uint8)))[0]
    assert not ids.any() and segments == []


def test_files_of_other_modes(write_panoptic):
    root = write_panoptic(SEGMENTS)
    file = root / "annotations" / "panoptic_train" / "a.png"
    expected = opened(root).segments(0)[0]
    stored = Image.open(file)
    for image in (stored.convert("RGBA"), stored.convert("P", palette=Image.Palette.ADAPTIVE)):
        image.save(file)
        assert (opened(root).segments(0)[0] == expected).all()
    stored.convert("L").save(file)
    with pytest.raises(ValueError, match=r"a.png: .*mode L, expected RGB"):
        opened(root)[0]
    stored.save(file, format="JPEG")
    with pytest.raises(ValueError, match="a.png: .*JPEG.*PNG"):
        opened(root)[0]
    file.write_bytes(b"")
    (error,), _ = messages(root)
    assert "a.png: the file is empty" in error
    file.unlink()
    (error,), _ = messages(root)
    assert "a.png: no such file" in error


def test_red_and_blue_in_the_other_order_are_recognized(write_panoptic):
    root = write_panoptic(SEGMENTS)
    file = root / "annotations" / "panoptic_train" / "a.png"
    Image.fromarray(np.array(Image.open(file))[..., ::-1]).save(file)
    (error,), _ = messages(root)
    assert re.search(r"a.png: 66 pixels have ids .*327680.*red and blue are swapped.*R \+ 256 G", error)


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        (SEGMENTS[:2], "22 pixels have ids .*: 70000$"),
        ([*SEGMENTS, SEGMENTS[0]], "segment 5 is there twice"),
        ([*SEGMENTS, {"id": 6, "category_id": 8}], "segment 6 is of category 8, .*known: 7, 200"),
        ([*SEGMENTS, {"id": 6}], "segment 6 is of category None"),
        ([*SEGMENTS, {"id": 6, "category_id": [7]}], r"category \[7\]"),
        ([*SEGMENTS, {"id": 0, "category_id": 7}], r"segments_info\[3\] has the id 0, .*1 to 16777215"),
        ([*SEGMENTS, {"id": 1 << 24, "category_id": 7}], "16777216.*1 to 16777215"),
        ([*SEGMENTS, {"id": 10**400, "category_id": 7}], "1 to 16777215"),
        ([*SEGMENTS, {"id": "6", "category_id": 7}], "'6'"),
        ([*SEGMENTS, {"category_id": 7}], "None"),
        ([*SEGMENTS, "6"], r"segments_info\[3\] is '6', .*'id' and 'category_id'"),
    ],
)
def test_segments_that_contradict_the_pixels_or_each_other(write_panoptic, segments, said):
    root = write_panoptic(segments)
    (error,), _ = messages(root)
    assert re.search(rf"annotations/panoptic_train/a.png: .*{said}", error)
    assert len(error) < 400
    with pytest.raises(ValueError, match=said.rstrip("$")):
        opened(root)[0]


def test_a_segment_without_pixels_is_left_out_and_reported(write_panoptic):
    root = write_panoptic([*SEGMENTS, {"id": 6, "category_id": 7}])
    assert [segment.id for segment in opened(root)[0].segments] == [5, 300, 70000]
    errors, (warning,) = messages(root)
    assert errors == []
    assert re.search("a.png: segments 6 .*no pixel", warning)


def test_several_segments_of_a_surface_are_reported(write_panoptic):
    _, (warning, *_) = messages(write_panoptic([{**each, "category_id": 200} for each in SEGMENTS]))
    assert re.search("a.png: 3 segments of 'sky', .*expected 1", warning)


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        ([{"id": 7, "name": "car"}], "category 7, 'car', has no 'isthing'; add 'isthing': 1 .*'isthing': 0"),
        ([{"id": 7, "name": "car", "isthing": "yes"}], "isthing 'yes'; add"),
        ([{"id": 7, "name": "car", "isthing": None}], "no 'isthing'; add"),
        ([{"id": 7, "name": "car", "isthing": 2}], "isthing 2; add"),
        ([{"id": 7, "name": "car", "isthing": 1}] * 2, "1 ids of its 'categories'"),
        ([], "0 classes"),
        ([{"id": 7, "name": None, "isthing": 1}], "category 7 has the name None"),
    ],
)
def test_categories_that_do_not_tell_things_from_surfaces(write_panoptic, categories, said):
    with pytest.raises(ValueError, match=rf"panoptic_train.json: .*{said}"):
        opened(write_panoptic([], categories=categories))


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ([{"image_id": 3, "segments_info": []}], r"annotations\[0\] has file_name None"),
        ([{"image_id": 3, "file_name": "a.png"}], r"annotations\[0\] \(a.png\) has no list 'segments_info'"),
        ([{"file_name": "a.png", "segments_info": []}], r"annotations\[0\] has no 'image_id'"),
    ],
)
def test_a_bad_record_is_named_with_its_key(write_panoptic, annotations, said):
    with pytest.raises(ValueError, match=rf"panoptic_train.json .*{said}"):
        opened(write_panoptic([], annotations=annotations))


def test_an_image_has_one_annotation(write_panoptic):
    with pytest.raises(FileNotFoundError, match=r"train/a.jpg has no annotations in panoptic_train.json, expected 1"):
        opened(write_panoptic([], annotations=[]))
    twice = [{"image_id": 3, "file_name": "a.png", "segments_info": SEGMENTS}] * 2
    with pytest.raises(FileNotFoundError, match=r"train/a.jpg has 2 annotations .*expected 1"):
        opened(write_panoptic([], annotations=twice))


def test_sizes_that_differ(write_panoptic, write_image, tmp_path):
    root = write_panoptic(SEGMENTS)
    write_image(tmp_path / "train" / "a.jpg", 11, 7)
    (error,), _ = messages(root)
    assert re.search("a.jpg is 7x11, its annotation .*a.png 11x7; .*EXIF", error)
    with pytest.raises(ValueError, match="a.jpg is 7x11"):
        opened(root)[0]


def test_a_file_without_pictures(write_panoptic):
    root = write_panoptic(SEGMENTS)
    folder = root / "annotations" / "panoptic_train"
    folder.rename(root / "panoptic_train")  # as some unpack it
    assert len(opened(root)) == 1
    (root / "panoptic_train").rename(root / "elsewhere")
    with pytest.raises(NoSplit, match="panoptic_train.json has no folder of PNG files: expected .*panoptic_train"):
        opened(root)


def test_what_is_hashed_compared_and_kept(write_panoptic):
    root = write_panoptic(SEGMENTS)
    data = opened(root)
    assert data.identity()["category_ids"] == [7, 200]
    assert data.files() == [
        root / "train" / "a.jpg",
        root / "annotations" / "panoptic_train" / "a.png",
        root / "annotations" / "panoptic_train.json",
    ]
    assert opened(write_panoptic([{**SEGMENTS[0], "iscrowd": 0}, *SEGMENTS[1:]])).digest() != data.digest()


def test_a_format_is_detected_for_a_task(write_coco, write_panoptic):
    root = write_panoptic(SEGMENTS)
    assert [detect_format(root, task) for task in ("semantic", "panoptic")] == ["coco_panoptic"] * 2
    with pytest.raises(ValueError, match="'coco_panoptic' reads 'semantic' and 'panoptic', not task 'instance'"):
        detect_format(root, "instance")
    write_coco([], "annotations/instances_train.json", "train")
    tasks = ("semantic", "instance", "panoptic")
    assert [detect_format(root, task) for task in tasks] == ["coco_panoptic", "coco", "coco_panoptic"]


def test_classes_of_the_segments(write_panoptic):
    root = write_panoptic(SEGMENTS)
    data = open_dataset(root, "train")
    assert (data.format, data.labels.classes, data.labels.things) == ("coco_panoptic", ("car", "sky"), None)
    sample = data[0]
    assert sample.ids.dtype == np.uint8
    assert sample.ids[:, 10].tolist() == [255, 0, 0, 1, 1, 0, 0]
    assert data.files() == opened(root).files()
    assert open_dataset(root, "train", num_classes=2, id_map={0: 1, 1: 0, 255: 255})[0].ids[1:4, 10].tolist() == [
        1,
        1,
        0,
    ]
    before = data.digest()
    assert open_dataset(write_panoptic(SEGMENTS, np.zeros((7, 11, 3), np.uint8)), "train").digest() != before


def test_classes_of_an_invalid_annotation(write_panoptic):
    data = open_dataset(write_panoptic(SEGMENTS[:2]), "train")
    with pytest.raises(ValueError, match="22 pixels have ids that segments_info does not list: 70000"):
        data[0]
    assert check(data.segmented.file.parents[1]).errors


def test_the_facades(facade):
    data = opened(facade, "val")
    assert (data.format, len(data), data.labels) == ("coco_panoptic", 87, FACADE_PANOPTIC)
    found = [data.segments(i) for i in range(len(data))]
    assert sum(len(segments) for _, segments in found) == 2620
    for ids, segments in found:
        assert ids.shape == (640, 640)
        assert sum(segment.area for segment in segments) == (ids > 0).sum()
    classes = open_dataset(facade, "val")
    assert (classes.format, len(classes), classes.labels) == ("coco_panoptic", 87, FACADE_SEMANTIC)
    for i, (ids, segments) in enumerate(found):
        expected = sorted([(0, 255), *((segment.id, segment.class_id) for segment in segments)])
        assert np.unique(ids.astype(np.int64) * 256 + classes.ids(i)).tolist() == [
            id * 256 + class_id for id, class_id in expected if id or not ids.all()
        ]


@pytest.mark.parametrize("as_written", [float, str, bool, int])
def test_flags_and_ids_as_tools_write_them(write_panoptic, as_written):
    categories = [
        {"id": 7, "name": "car", "isthing": as_written(1)},
        {"id": 200, "name": "sky", "isthing": "0" if as_written is str else as_written(0)},
    ]
    found = opened(write_panoptic([{**each, "id": float(each["id"])} for each in SEGMENTS], categories=categories))
    assert found.labels.things == (True, False)
    assert [segment.id for segment in found[0].segments] == [5, 300, 70000]


@pytest.mark.parametrize(("flag", "said"), [(1, "'isthing': 0 for each kind of surface"), (0, "'isthing': 1 for each")])
def test_one_kind_alone_is_an_error_of_the_check(write_panoptic, flag, said):
    categories = [{"id": id, "name": str(id), "isthing": flag} for id in (7, 200)]
    errors, _ = messages(write_panoptic(SEGMENTS, categories=categories))
    assert any(re.search(f"all 2 classes are .*{said}", error) for error in errors)
