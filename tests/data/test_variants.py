"""Several masks of one image: of classes, of versions, for people."""

import sys

import numpy as np
import pytest
from PIL import Image

from srzoo.data.check import check
from srzoo.data.opening import open_dataset
from srzoo.data.pairing import find_pairs
from tests.data.test_pairing import found, write

pytestmark = pytest.mark.filterwarnings("default:.*has no split for val")


def paint(path, rows, value=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((4, 5), np.uint8)
    mask[rows] = value
    Image.fromarray(mask).save(path)


@pytest.mark.parametrize(
    "names",
    [
        ("labels/crack/{}.png", "labels/hole/{}.png"),
        ("2. Groundtruth/1. crack/{}_CR.tif", "2. Groundtruth/2. hole/{}_HO.tif"),
        ("mask-anno/{}_crack.png", "mask-anno/{}_hole.png"),
        ("mask-anno/0/{}_crack.png", "mask-anno/0/{}_hole.png"),
    ],
)
def test_a_mask_for_each_class(tmp_path, names):
    for i in range(4):
        write(tmp_path, f"images/im{i}.jpg")
        paint(tmp_path / names[0].format(f"im{i}"), slice(0, 2))
        if i:  # one image has no hole
            paint(tmp_path / names[1].format(f"im{i}"), slice(1, 3), 76 if "HO" in names[1] else 255)
    report = check(tmp_path)
    assert (report.errors, report.labels.classes) == ([], ("background", "crack", "hole"))
    assert any("several classes: crack, hole; where they overlap, the last" in line for line in report.warnings)
    data = open_dataset(tmp_path, "train", holdout="fifth")
    ids = {data.image_name(i)[-7:]: data.ids(i)[:, 0].tolist() for i in range(len(data))}
    assert ids["im1.jpg"] == [1, 2, 2, 0]
    assert ids.get("im0.jpg", [1, 1, 0, 0]) == [1, 1, 0, 0]
    assert len(data.files()) == sum(2 + (each[1] == 2) for each in ids.values())


def test_masks_of_classes_that_differ_in_size_are_told(tmp_path):
    for i in range(3):
        write(tmp_path, f"images/{i}.jpg")
        paint(tmp_path / f"labels/crack/{i}.png", slice(0, 2))
        paint(tmp_path / f"labels/hole/{i}.png", slice(0, 2))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "labels/hole/1.png")
    assert any("masks of one image, but differ in size" in error for error in check(tmp_path).errors)


@pytest.mark.parametrize("folders", [("v1.2/labels", "v2.0/labels"), ("labels/expert1", "labels/expert2")])
def test_of_several_versions_one_is_read_and_the_others_are_told(tmp_path, folders):
    write(tmp_path, *(f"{folder}/{i}.png" for folder in (*folders, "images") for i in range(3)))
    pairs = find_pairs(tmp_path)
    assert pairs.masks.startswith(folders[1])
    assert not pairs.class_of
    assert any(f"{folders[0]}/*.png are not" in line for line in check(tmp_path).warnings)


def test_of_several_files_in_a_folder_of_masks_that_of_classes_is_read(tmp_path):
    for i in range(3):
        write(tmp_path, f"rgb_anon/fog/f{i}_rgb_anon.png")
        write(
            tmp_path, *(f"gt/fog/f{i}_gt_{kind}.png" for kind in ("labelIds", "labelTrainIds", "labelColor", "invIds"))
        )
    pairs = find_pairs(tmp_path)
    assert (len(pairs), pairs.masks) == (3, "gt/fog/f*_gt_labelTrainIds.png")


def test_pictures_beside_the_images_are_told_and_not_asked_for_masks(tmp_path):
    names = [f"A1/plant{i}_{kind}.png" for i in range(3) for kind in ("rgb", "label", "fg", "centers")]
    write(tmp_path, *names)
    write(tmp_path, *(f"A1/plant{i}_rgb_parts_1.png" for i in range(3)))
    assert found(tmp_path) == {None: [(f"A1/plant{i}_rgb.png", f"A1/plant{i}_label.png") for i in range(3)]}
    report = check(tmp_path)
    assert not any("has no mask" in error for error in report.errors)
    assert any("9 pictures beside the images are not read" in line for line in report.warnings)


def test_a_folder_for_each_image(tmp_path):
    write(tmp_path, *(f"case{i}/{name}.png" for i in range(3) for name in ("image", "label", "label_viz")))
    assert found(tmp_path) == {None: [(f"case{i}/image.png", f"case{i}/label.png") for i in range(3)]}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("train/images/images/{}.png", "train/Semantic_masks/images/images/{}_instance_color_RGB.png"),
        ("training/image_2/{}.png", "training/semantic/{}.png"),
        ("PNGImages/{}.png", "PedMasks/{}_mask.png"),
        ("imagesTr/{}_0000.png", "labelsTr/{}.png"),
        ("p/{}.jpg", "stuffthingmaps/{}.png"),
        ("x/{}.jpg", "x/{}_label_ground-truth_semantic.png"),
    ],
)
def test_more_names_that_people_use(tmp_path, image, mask):
    write(tmp_path, *(each.format(name) for name in ("a1", "b2") for each in (image, mask)))
    pairs = find_pairs(tmp_path)
    assert sorted(pair for each in pairs.by_split.values() for pair in each) == [
        (tmp_path / image.format(name), tmp_path / mask.format(name)) for name in ("a1", "b2")
    ]


def test_folders_that_differ_in_the_word_of_the_split_alone(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, *(f"uavid_{split}/seq{i}/{kind}/0.png" for i in (1, 2) for kind in ("Images", "Labels")))
    assert {split: len(each) for split, each in found(tmp_path).items()} == {"train": 2, "val": 2}
    write(tmp_path / "other", "crash_test/Images/0.png", "crash_test/Labels/0.png")
    assert set(found(tmp_path / "other")) == {None}


@pytest.mark.parametrize(
    ("values", "is_black_and_white"),
    [
        ((0, 255), True),
        ((0, 1), True),
        ((0, 3, 252, 255), True),
        ((255,), True),
        ((1, 2), False),
        ((0, 1, 2), False),
        ((1,), False),
        ((254, 255), False),
        ((1, 255), False),
    ],
)
def test_masks_of_classes_have_black(tmp_path, values, is_black_and_white):
    for i in range(3):
        write(tmp_path, f"images/{i}.jpg")
        for name in ("hair", "skin"):
            path = tmp_path / f"masks/{name}/{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.resize(np.uint8(values), (4, 5))).save(path)
    assert bool(find_pairs(tmp_path).class_of) == is_black_and_white


def test_masks_that_are_not_read_need_no_package(tmp_path, monkeypatch):
    """Which of several sets of masks is read was asked of SciPy, where one is in .mat files."""
    write(tmp_path, *(f"{folder}/{i}.png" for folder in ("images", "masks/crack") for i in range(3)))
    for i in range(3):
        (tmp_path / "masks/leaf").mkdir(exist_ok=True)
        (tmp_path / f"masks/leaf/{i}.mat").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    assert find_pairs(tmp_path).masks == "masks/crack/*.png"
