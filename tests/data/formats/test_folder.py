import re
import shutil
import sys
import unicodedata

import numpy as np
import pytest

from srzoo.data.check import check
from srzoo.data.files import NoSplit
from srzoo.data.opening import open_dataset

ROWS = [0, 1, 2, 1, 0, 255, 2]


def stems(root, split, **how):
    return [image.stem for image, _ in open_dataset(root, split, **how).pairs]


def test_split_by_lists(write_pairs):
    root = write_pairs(*[ROWS] * 3)
    (root / "train.txt").write_text("f0.jpg\nimages/f2.jpg 1\n\n")
    (root / "val.txt").write_text("f1\n")
    assert (stems(root, "train"), stems(root, "val")) == (["f0", "f2"], ["f1"])
    with pytest.raises(NoSplit, match="no split 'test'"):
        open_dataset(root, "test")
    image, ids = open_dataset(root, "val")[0]
    assert image.shape == (7, 11, 3)
    assert ids[:, 10].tolist() == ROWS


def test_names_in_a_list_are_those_that_people_have(tmp_path, write_image, write_mask):
    for name in ("my photo 1", "frame.001", "plain"):
        write_image(tmp_path / "images" / f"{name}.png")
        write_mask(tmp_path / "masks" / f"{name}.png", ROWS)
    (tmp_path / "train.txt").write_text("\ufeffmy photo 1.png\nframe.001\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text("images/plain.png masks/plain.png\n")
    (tmp_path / "classes.txt").write_text("\ufeffroad\ncar\ntree\n", encoding="utf-8")
    assert stems(tmp_path, "train") == ["my photo 1", "frame.001"]
    assert stems(tmp_path, "val") == ["plain"]
    assert open_dataset(tmp_path, "val").labels.classes[0] == "road"


@pytest.mark.parametrize("pattern", ["{kind}/{split}", "{split}/{kind}"])
@pytest.mark.parametrize("val", ["val", "valid"])
def test_split_by_folders(tmp_path, write_image, write_mask, pattern, val):
    for split, name in (("train", "a"), (val, "b")):
        write_image(tmp_path / pattern.format(kind="images", split=split) / f"{name}.png")
        write_mask(tmp_path / pattern.format(kind="masks", split=split) / f"{name}.png", ROWS)
    assert (stems(tmp_path, "train"), stems(tmp_path, "val")) == (["a"], ["b"])
    with pytest.raises(NoSplit, match="no split 'test'"):
        open_dataset(tmp_path, "test")
    shutil.rmtree(tmp_path / pattern.format(kind="images", split=val))
    with pytest.raises(NoSplit, match="1 image"):
        open_dataset(tmp_path, "val")


def test_a_test_split_without_val(tmp_path, write_image, write_mask):
    for i, split in enumerate(("train", "train", "test")):
        write_image(tmp_path / split / "images" / f"{i}.png")
        write_mask(tmp_path / split / "masks" / f"{i}.png", ROWS)
    with pytest.warns(UserWarning, match="no split for val: 1 of 2 images"):
        assert [stems(tmp_path, split) for split in ("train", "val", "test")] == [["0"], ["1"], ["2"]]


def test_without_a_split_the_end_is_held_out_or_every_fifth(write_pairs):
    root = write_pairs(*[ROWS] * 7)
    with pytest.warns(UserWarning, match="1 of 7 images .*f6"):
        assert stems(root, "val") == ["f6"]
    assert stems(root, "train") == ["f0", "f1", "f2", "f3", "f4", "f5"]
    with pytest.warns(UserWarning, match="every fifth"):
        assert stems(root, "val", holdout="fifth") == ["f0", "f5"]
    assert stems(root, "train", holdout="fifth") == ["f1", "f2", "f3", "f4", "f6"]
    with pytest.warns(UserWarning, match="3 of 7"):
        assert stems(root, "val", holdout=0.4) == ["f4", "f5", "f6"]


def test_classes_have_the_names_in_the_file(write_pairs):
    root = write_pairs(*[ROWS] * 2)
    assert open_dataset(root, "train").labels is None
    (root / "classes.txt").write_text("soil\nweed, small\n\ncrop\n")
    labels = open_dataset(root, "train").labels
    assert labels.classes == ("soil", "weed, small", "crop")
    assert len(set(labels.palette)) == 3
    for text, message in (
        ("soil\nsoil\n", "the class 'soil'"),
        ("soil", "1 classes, .*2 to 254"),
    ):
        (root / "classes.txt").write_text(text)
        with pytest.raises(ValueError, match=f"classes.txt: {message}"):
            open_dataset(root, "train")


def test_ids_beyond_the_classes_are_refused_where_their_number_is_known(write_pairs):
    root = write_pairs(*[ROWS] * 2)
    assert open_dataset(root, "train")[0]
    assert open_dataset(root, "train", num_classes=3)[0]
    with pytest.raises(ValueError, match=r"f0.png: id 2 "):
        open_dataset(root, "train", num_classes=2)[0]


def test_an_id_map_of_one_s_own(write_pairs):
    root = write_pairs(*[ROWS] * 2)
    ids = open_dataset(root, "train", id_map={0: 255, 1: 0, 2: 1, 255: 255}).ids(0)
    assert ids[:, 0].tolist() == [255, 0, 1, 0, 255, 255, 1]
    with pytest.raises(ValueError, match=r"class 2, .* 2 \(0..1\)"):
        open_dataset(root, "train", num_classes=2, id_map={1: 0, 2: 2})


def test_colours_of_one_s_own(write_pairs):
    root = write_pairs(*[[(255, 0, 0), (0, 0, 0), (9, 9, 9)]] * 2)
    dataset = open_dataset(root, "train", id_map={"#ff0000": 1, "#000000": 0, "#090909": 255})
    assert dataset.ids(0)[:, 0].tolist() == [1, 0, 255]


def test_a_list_may_be_named_as_a_folder_may(write_pairs):
    root = write_pairs(*[ROWS] * 2)
    (root / "train.txt").write_text("f0\n")
    (root / "valid.txt").write_text("f1\n")
    assert (stems(root, "train"), stems(root, "val")) == (["f0"], ["f1"])


def test_an_image_that_is_listed_twice_would_count_twice(write_pairs):
    root = write_pairs(*[ROWS] * 2)
    (root / "train.txt").write_text("f0\n")
    (root / "val.txt").write_text("f1\nimages/f1.jpg\n")
    with pytest.raises(FileNotFoundError, match="f1 .* twice"):
        open_dataset(root, "val")


def test_one_image_cannot_be_split(write_pairs):
    root = write_pairs(ROWS)
    assert stems(root, "train") == ["f0"]
    with pytest.raises(NoSplit, match="data .*1 image"):
        open_dataset(root, "val")


def test_folders_in_the_folders(tmp_path, write_image, write_mask):
    for folder in ("monday", "tuesday"):
        write_image(tmp_path / "images" / folder / "a.png")
        write_mask(tmp_path / "masks" / folder / "a.png", ROWS)
    data = open_dataset(tmp_path, "train")
    assert [mask.parent.name for _, mask in data.pairs] == ["monday"]


@pytest.mark.parametrize("name", ["classes.txt", "train.txt"])
def test_text_of_another_encoding_is_named(write_pairs, name):
    root = write_pairs(*[ROWS] * 2)
    (root / name).write_bytes("Straße\n".encode("latin-1"))
    with pytest.raises(ValueError, match=rf"{name} .*UTF-8"):
        open_dataset(root, "train")


def objects(root, split="train"):
    return open_dataset(root, split, task="instance")


def test_masks_of_object_ids(write_pairs):
    root = write_pairs([0, 1, 1, 3, 0, 255, 3], [0] * 7)
    (root / "train.txt").write_text("f0\nf1\n")
    (root / "val.txt").write_text("f1\n")
    data = objects(root)
    assert (data.format, data.labels.classes, data.category_ids, data.image_ids) == (
        "folder",
        ("object",),
        (1,),
        ["f0", "f1"],
    )
    image, found = data[0]
    assert image.shape[:2] == found.size
    assert (found.ids, found.classes.tolist(), found.areas.tolist()) == ([1, 3], [0, 0], [22, 33 - 11])
    assert found.boxes.tolist() == [[0, 1, 11, 3], [0, 3, 11, 7]]
    assert len(data[1].objects) == 0


def test_more_than_254_objects(tmp_path, write_image, write_mask):
    write_image(tmp_path / "images" / "a.png", 600)
    write_mask(tmp_path / "masks" / "a.png", range(600), dtype="uint16")
    (tmp_path / "train.txt").write_text("a\n")
    assert objects(tmp_path).objects(0).ids == [*range(1, 600)]


@pytest.mark.parametrize(("text", "name"), [("person\n", "person"), ("background\nperson\n", "person")])
def test_the_class_of_objects_has_the_name_in_the_file(write_pairs, text, name):
    root = write_pairs(*[ROWS] * 2)
    (root / "classes.txt").write_text(text)
    assert objects(root).labels.classes == (name,)


@pytest.mark.parametrize("text", ["soil\nweed\n", "\n", "background\n"])
def test_masks_do_not_tell_the_class_of_an_object(write_pairs, text):
    root = write_pairs(*[ROWS] * 2)
    (root / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match=r"classes.txt: [02] classes, expected 1"):
        objects(root)


@pytest.mark.parametrize(
    ("rows", "dtype", "said"),
    [
        ([0, 255, 255, 0, 0, 0, 0], "uint8", "0 and 255 alone"),
        ([(255, 0, 0)] * 7, "uint8", "colours"),
        (range(5000), "uint16", "4999 different ids, at most 4096"),
    ],
)
def test_masks_that_are_not_of_object_ids(write_pairs, rows, dtype, said):
    root = write_pairs(rows, names=["a"], dtype=dtype)
    (root / "train.txt").write_text("a\n")
    with pytest.raises(ValueError, match=rf"masks/a.png: .*{said}"):
        objects(root)[0]
    assert re.search(said, check(root, task="instance").errors[0])


@pytest.mark.parametrize(("lacking", "count"), [(None, 255), (100, 253)])
def test_255_is_an_object_if_all_ids_before_it_are(write_pairs, lacking, count):
    root = write_pairs([0 if i == lacking else i for i in range(256)], [0] * 6 + [3])
    (root / "train.txt").write_text("f0\nf1\n")
    found = objects(root)[0].objects
    assert len(found) == count and (255 in found.ids) is (lacking is None)


def test_masks_of_object_ids_as_jpeg(tmp_path, write_image, write_mask):
    write_image(tmp_path / "images" / "a.png")
    write_mask(tmp_path / "masks" / "a.jpg", ROWS)
    (tmp_path / "train.txt").write_text("a\n")
    with pytest.raises(ValueError, match="a.jpg: ids as JPEG.*PNG"):
        objects(tmp_path)[0]


def test_object_ids_below_0(tmp_path, write_image, write_mask):
    write_image(tmp_path / "images" / "a.png")
    write_mask(tmp_path / "masks" / "a.tif", [0, -1, 0, 0, 0, 0, 0], dtype="int32")
    (tmp_path / "train.txt").write_text("a\n")
    with pytest.raises(ValueError, match="a.tif: the id -1, expected 0 or more"):
        objects(tmp_path)[0]


def test_a_mask_of_another_size(tmp_path, write_image, write_mask):
    write_image(tmp_path / "images" / "a.png", 7, 11)
    write_mask(tmp_path / "masks" / "a.png", [0, 1, 1], width=12)
    (tmp_path / "train.txt").write_text("a\n")
    with pytest.raises(ValueError, match="a.png is 11x7, its annotation .*a.png 12x3; .*one size"):
        objects(tmp_path)[0]


def test_masks_as_arrays(tmp_path, write_image):
    for i in range(2):
        write_image(tmp_path / "images" / f"{i}.jpg")
    (tmp_path / "masks").mkdir()
    mask = np.repeat(np.array(ROWS, np.int64)[:, None], 11, 1)
    np.save(tmp_path / "masks" / "0.npy", mask)
    np.save(tmp_path / "masks" / "1.npy", mask[None])
    assert open_dataset(tmp_path, "train").ids(0)[:, 0].tolist() == ROWS
    np.save(tmp_path / "masks" / "0.npy", mask + 0.5)
    with pytest.raises(ValueError, match="0.npy: .*floating"):
        open_dataset(tmp_path, "train").ids(0)
    np.save(tmp_path / "masks" / "0.npy", np.array([{}], object))
    with pytest.raises(ValueError, match="0.npy: cannot be read"):
        open_dataset(tmp_path, "train").ids(0)


def test_masks_of_matlab(tmp_path, write_image):
    io = pytest.importorskip("scipy.io")
    mask = np.repeat(np.array(ROWS, np.uint8)[:, None], 11, 1)
    for i, content in enumerate(({"LabelMap": mask}, {"GTcls": {"Boundaries": np.zeros(3), "Segmentation": mask}})):
        write_image(tmp_path / "images" / f"{i}.jpg")
        (tmp_path / "cls_labels").mkdir(exist_ok=True)
        io.savemat(tmp_path / "cls_labels" / f"{i}.mat", content)
    with pytest.warns(UserWarning, match="held out"):
        splits = [open_dataset(tmp_path, split) for split in ("train", "val")]
    assert [data.ids(0)[:, 0].tolist() for data in splits] == [ROWS, ROWS]
    (tmp_path / "cls_labels" / "0.mat").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(ValueError, match="0.mat: cannot be read by scipy"):
        open_dataset(tmp_path, "train").ids(0)


@pytest.mark.filterwarnings("default:.*has no split for val")
def test_matlab_needs_a_package(tmp_path, write_image, monkeypatch):
    for i in range(2):
        write_image(tmp_path / "images" / f"{i}.jpg")
        (tmp_path / "masks").mkdir(exist_ok=True)
        (tmp_path / "masks" / f"{i}.mat").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ImportError, match=r"srzoo\[data\]"):
        open_dataset(tmp_path, "train").ids(0)
    with pytest.raises(ImportError, match=r"srzoo\[data\]"):  # not a problem of each file
        check(tmp_path)


@pytest.mark.filterwarnings("default:.*has no split for val")
def test_a_list_of_other_names_is_told_and_not_read(write_pairs):
    root = write_pairs(*[ROWS] * 4)
    (root / "train.txt").write_text("f0_0\nf0_1\n")
    report = check(root)
    assert {split: facts.images for split, facts in report.splits.items()} == {"train": 3, "val": 1}
    assert any("train.txt names none of the images, but 'f0_0'" in line for line in report.warnings)


@pytest.mark.filterwarnings("default:.*has no split for val")
def test_where_only_test_has_masks_it_is_the_whole(tmp_path, write_image, write_mask):
    for i in range(4):
        write_image(tmp_path / "train" / "good" / f"{i}.png")
        write_image(tmp_path / "test" / "bent" / f"{i}.png")
        write_mask(tmp_path / "ground_truth" / "bent" / f"{i}_mask.png", ROWS)
    report = check(tmp_path)
    assert {split: facts.images for split, facts in report.splits.items()} == {"train": 3, "val": 1}
    assert any("only test has masks" in line for line in report.warnings)


def test_channels_in_files_of_their_own_are_told(tmp_path, write_image, write_mask):
    for name in ("a_001", "a_002"):
        for channel in range(2):
            write_image(tmp_path / "imagesTr" / f"{name}_{channel:04d}.png")
        write_mask(tmp_path / "labelsTr" / f"{name}.png", ROWS)
    with pytest.raises(ValueError, match="a_001_0001.png and a_001_0000.png have one mask.*in_channels"):
        check(tmp_path)


@pytest.mark.filterwarnings("default:.*has no split for val")
@pytest.mark.parametrize(("last", "is_less"), [(2, True), (3, False)])
def test_values_one_less_than_in_the_file_of_classes(write_pairs, last, is_less):
    """As those of COCO-Stuff: its labels.txt has 0 for unlabeled, where the masks have 255, and 0 for the first."""
    root = write_pairs(*[[0, 1, last, 255]] * 5)
    (root / "labels.txt").write_text("0: unlabeled\n1: person\n2: bicycle\n3: wood\n")
    report = check(root)
    assert report.labels.classes == ("person", "bicycle", "wood")
    assert any("one less than those of the file" in line for line in report.warnings) == is_less
    expected = [0, 1, 2, 255] if is_less else [255, 0, 2, 255]
    assert open_dataset(root, "train").ids(0)[:, 0].tolist() == expected


@pytest.mark.filterwarnings("default:.*has no split for val")
def test_arrays_as_images(tmp_path, write_mask):
    for i in range(3):
        (tmp_path / "images").mkdir(exist_ok=True)
        np.save(tmp_path / "images" / f"{i}.npy", np.full((7, 11, 3), 9 * i, np.uint8))
        write_mask(tmp_path / "masks" / f"{i}.png", ROWS)
    assert check(tmp_path).errors == []
    image = open_dataset(tmp_path, "train").image(1)
    assert (image.dtype, image.max()) == (np.uint8, 9)


@pytest.mark.filterwarnings("default:.*has no split for val")
def test_numbers_of_objects_are_told(write_pairs):
    root = write_pairs(*[[0, *range(1, 2 + i), *[0] * (5 - i)] for i in range(5)])
    assert any("numbers of objects" in line and "--task instance" in line for line in check(root).warnings)
    (root / "classes.txt").write_text("a\nb\nc\nd\ne\nf\n")
    assert not any("numbers of objects" in line for line in check(root).warnings)


def test_lists_of_videos(tmp_path, write_image, write_mask):
    for video in ("bear", "dog"):
        for i in range(2):
            write_image(tmp_path / "JPEGImages" / "480p" / video / f"{i:05d}.jpg")
            write_mask(tmp_path / "Annotations" / "480p" / video / f"{i:05d}.png", ROWS)
    (tmp_path / "train.txt").write_text("bear\n")
    (tmp_path / "val.txt").write_text("dog\n")
    for split, video in (("train", "bear"), ("val", "dog")):
        assert {path.parent.name for path in open_dataset(tmp_path, split).files()} == {video}


@pytest.mark.parametrize("forms", [("NFC", "NFD", "NFD"), ("NFD", "NFC", "NFC"), ("NFD", "NFD", "NFC")])
def test_accented_letters_as_one_character_or_as_two(forms, write_image, write_mask, tmp_path):
    """Files from a Mac, and a list or masks of another system."""
    image, mask, listed = forms
    for name in ("\u00e91", "\u00fc2", "O3", "o3"):
        write_image(tmp_path / "images" / f"{unicodedata.normalize(image, name)}.jpg", height=2)
        write_mask(tmp_path / "masks" / f"{unicodedata.normalize(mask, name)}.png", [0, 1])
    (tmp_path / "train.txt").write_text(unicodedata.normalize(listed, "\u00e91\n\u00fc2\n"))
    (tmp_path / "val.txt").write_text("o3\nO3\n")
    assert len(open_dataset(tmp_path, "val")) == 2
    data = open_dataset(tmp_path, "train")
    assert [unicodedata.normalize("NFC", image.stem) for image, _ in data.pairs] == ["\u00e91", "\u00fc2"]
    assert not data.unpaired
