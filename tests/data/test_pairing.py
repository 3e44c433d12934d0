import numpy as np
import pytest
from PIL import Image

from srzoo.data.opening import detect_format, open_dataset
from srzoo.data.pairing import find_pairs
from srzoo.data.roles import split_of


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)


def found(root, role="mask"):
    """The pairs as names, by split."""
    pairs = find_pairs(root, role)
    return {
        split: [tuple(path.relative_to(root).as_posix() for path in pair) for pair in sorted(each)]
        for split, each in pairs.by_split.items()
    }


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["images/a.png", "images/b.png"], ["masks/a.png", "masks/b.png"]),
        (["imgs/a.jpg", "imgs/b.jpg"], ["labels/a.png", "labels/b.png"]),
        (["image/a.jpg", "image/B.jpg"], ["mask/A.PNG", "mask/b.png"]),
        (["JPEGImages/a.jpg"], ["SegmentationClass/a.png"]),
        (["x y/photos/a.jpg"], ["x y/gt/a.png"]),
        (["original/000.jpg", "original/001.jpg"], ["masks/0.png", "masks/1.png"]),
        (["images/a.jpg", "images/b.jpg"], ["masks/a_mask.gif", "masks/b_mask.gif"]),
        (["images/a.jpg", "images/ab.jpg"], ["masks/a_L.png", "masks/ab_L.png"]),
        (["images/image_1.jpg", "images/image_2.jpg"], ["masks/mask_1.png", "masks/mask_2.png"]),
        (["images/12_sat.jpg", "images/345_sat.jpg"], ["labels/12_mask.png", "labels/345_mask.png"]),
        (["images/s1/a.jpg", "images/s2/a.jpg"], ["masks/s1/a.png", "masks/s2/a.png"]),
        (["images/s1/a.jpg", "images/s2/b.jpg"], ["masks/a.png", "masks/b.png"]),
        (["12_sat.jpg", "345_sat.jpg"], ["12_mask.png", "345_mask.png"]),
        (["a.jpg", "b.jpg"], ["a_mask.png", "b_mask.png"]),
        (["a.jpg", "b.jpg"], ["a.png", "b.png"]),
        (["data/images/a.jpg"], ["data/ground_truth/a.png"]),
        (["img_dir/a.jpg"], ["ann_dir/a.png"]),
    ],
)
def test_names_that_people_use(tmp_path, images, masks):
    write(tmp_path, *images, *masks)
    assert found(tmp_path) == {None: sorted(zip(images, masks))}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}/images/a.jpg", "{}/masks/a.png"),
        ("images/{}/a.jpg", "masks/{}/a.png"),
        ("{}_images/a.jpg", "{}_masks/a.png"),
        ("images_{}/a.jpg", "labels_{}/a.png"),
        ("{}/a.jpg", "{}_labels/a.png"),
        ("{}/a.jpg", "{}/a_mask.png"),
    ],
)
def test_folders_name_the_split(tmp_path, image, mask):
    for name in ("train", "valid"):
        write(tmp_path, image.format(name), mask.format(name))
    assert found(tmp_path) == {
        split: [(image.format(name), mask.format(name))] for split, name in (("train", "train"), ("val", "valid"))
    }


def test_masks_for_machines_are_taken_rather_than_those_for_people(tmp_path):
    write(tmp_path, "img/a.jpg", "masks_human/a.png", "masks_machine/a.png", "SegmentationObject/a.png")
    assert found(tmp_path) == {None: [("img/a.jpg", "masks_machine/a.png")]}
    assert found(tmp_path, "objects") == {None: [("img/a.jpg", "SegmentationObject/a.png")]}


def test_a_file_without_a_partner_is_named_where_others_have_one(tmp_path):
    write(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png", "test/c.jpg")
    assert find_pairs(tmp_path).alone[None] == ([tmp_path / "images" / "b.jpg"], [])
    with pytest.raises(FileNotFoundError, match="b.jpg has no mask.*skip_unusable"):
        open_dataset(tmp_path, "train")
    write(tmp_path, "images/c.jpg", "masks/c.png")
    with pytest.warns(UserWarning, match="left out of train: .*b.jpg"):
        assert len(open_dataset(tmp_path, "train", skip_unusable=True)) == 1


def test_pictures_alone_are_no_pairs(tmp_path):
    write(tmp_path, "images/a.jpg", "images/b.jpg", "photos/a.jpg", "annotations/panoptic_train/a.png")
    assert not find_pairs(tmp_path)
    with pytest.raises(ValueError, match="no known layout"):
        detect_format(tmp_path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Train", "train"),
        ("train2017", "train"),
        ("TrainDataset", "train"),
        ("training_set", "train"),
        ("a. Training Set", "train"),
        ("valid-data", "val"),
        ("TestDataset", "test"),
        ("valid-mini", None),
        ("trains", None),
        ("test_images", None),
    ],
)
def test_names_of_splits(name, split):
    assert split_of(name) == split


def test_colour_maps_are_for_people(tmp_path):
    write(tmp_path, "images/a.jpg", "labels/sem_seg/colormaps/a.png", "labels/sem_seg/masks/a.png")
    assert found(tmp_path) == {None: [("images/a.jpg", "labels/sem_seg/masks/a.png")]}


def test_two_patterns_name_the_files(tmp_path):
    write(tmp_path, "p/a.jpg", "p/b.jpg", "p/notes.jpg", "q/x-a-y.png", "q/x-b-y.png")
    how = {"images": "p/[ab].jpg", "masks": "q/*.png"}
    assert len(open_dataset(tmp_path, "train", **how)) == 1
    data = open_dataset(tmp_path, "train", **how, holdout="fifth")
    assert [[path.name for path in pair] for pair in data.pairs] == [["b.jpg", "x-b-y.png"]]
    assert data.arguments("R")[:8] == [
        *("--data.format", "folder", "--data.root", "R"),
        *("--data.images", "p/[ab].jpg", "--data.masks", "q/*.png"),
    ]
    with pytest.raises(ValueError, match="no image files 'z/"):
        open_dataset(tmp_path, "train", images="z/*.jpg", masks="q/*.png")
    with pytest.raises(ValueError, match="none of the 2 masks .*1 images"):
        open_dataset(tmp_path, "train", images="p/n*.jpg", masks="q/*.png")
    with pytest.raises(ValueError, match="images is given without masks"):
        open_dataset(tmp_path, "train", images="p/*.jpg")


def test_several_masks_of_an_image(tmp_path):
    write(tmp_path, "a_mask.png", "b_mask.png", "a.jpg", "b.jpg", "a_mask_1.png")
    pairs = find_pairs(tmp_path)
    assert (len(pairs), pairs.more) == (2, {tmp_path / "a.jpg": [tmp_path / "a_mask_1.png"]})


def test_one_mask_for_each_object(tmp_path, write_image, write_mask):
    for name in ("a", "b"):
        write_image(tmp_path / name / "images" / f"{name}.png")
        write_mask(tmp_path / name / "masks" / "1.png", [0, 255, 0, 0, 0, 0, 0])
        write_mask(tmp_path / name / "masks" / "2.png", [0, 0, 0, 255, 255, 0, 0])
    how = {"id_map": {0: 0, 255: 1}}
    assert open_dataset(tmp_path, "train", **how).ids(0)[:, 0].tolist() == [0, 1, 0, 1, 1, 0, 0]
    found = open_dataset(tmp_path, "train", task="instance").objects(0)
    assert found.boxes.tolist() == [[0, 1, 11, 2], [0, 3, 11, 5]]


def test_other_masks_are_told(tmp_path):
    write(tmp_path, "images/a.jpg", "images/b.jpg", "gt/a.png", "gt/b.png", "mask/a.png", "mask/b.png")
    (doubt,) = open_dataset(tmp_path, "train").doubts
    assert "gt/*.png are read, and mask/*.png are not" in doubt


@pytest.mark.parametrize("outer", ["face_mask", "masks_dataset", "Labels_v2"])
def test_images_beside_their_masks_in_a_folder_whose_name_says_mask(tmp_path, outer):
    names = (outer, "hand_mask")
    write(tmp_path, *(f"{name}/{role}/{name}.png" for name in names for role in ("images", "masks")))
    pairs = {pair for each in found(tmp_path).values() for pair in each}
    assert pairs == {(f"{name}/images/{name}.png", f"{name}/masks/{name}.png") for name in names}


def test_folders_of_masks_called_images(tmp_path):
    write(tmp_path, "Original/images/a.png", "Semantic_masks/images/a.png")
    assert found(tmp_path) == {None: [("Original/images/a.png", "Semantic_masks/images/a.png")]}
