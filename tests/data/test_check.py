import os
import re
import shutil
import signal
import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from srzoo.data.check import _inspected, check, check_quickly, check_splits
from srzoo.data.opening import open_dataset
from srzoo.data.seeded import AugmentedDataset

ROWS = [0, 1, 2, 1, 0, 255, 2]


@pytest.fixture
def root(write_pairs):
    """Six good pairs."""
    root = write_pairs(*[ROWS] * 6)
    (root / "train.txt").write_text("f0\nf1\nf2\nf3\n")
    (root / "val.txt").write_text("f4\nf5\n")
    return root


def test_a_good_dataset(root):
    report = check(root)
    assert (report.format, report.num_classes) == ("folder", 3)
    assert report.errors == report.warnings == []
    train = report.splits["train"]
    assert (train.images, train.inspected, dict(train.sizes)) == (4, 4, {(7, 11): 4})
    counts = report.class_pixels("train")
    assert counts[[0, 1, 2, 255]].tolist() == [88, 88, 88, 44]
    assert counts.sum() == 4 * 77


def test_every_bad_file_is_named(root, write_image, write_mask):
    image = (root / "images" / "f0.jpg").read_bytes()
    (root / "images" / "f0.jpg").write_bytes(image[: len(image) // 2])
    (root / "masks" / "f1.png").write_bytes(b"")
    write_mask(root / "masks" / "f2.png", ROWS, width=12)
    write_image(root / "images" / "f3.jpg", 11, 7)
    (root / "masks" / "f4.png").unlink()
    errors = check(root).errors
    assert len(errors) == 5
    for part in (
        "f0.jpg: cannot be read",
        "f1.png: the file is empty",
        f"f2.jpg is 11x7, .*{root}/masks/f2.png 12x7",
        f"f3.jpg is 7x11, .*{root}/masks/f3.png 11x7; .*EXIF",
        "f4.jpg has no mask",
    ):
        assert sum(re.search(part, error) is not None for error in errors) == 1, part


def test_what_is_wrong_with_a_folder_without_splits_is_told_once(write_pairs):
    root = write_pairs(*[ROWS] * 6)
    for name, target in (("loop.jpg", "loop.jpg"), ("gone.jpg", "nowhere.jpg")):  # links that lead to no file
        (root / "images" / name).symlink_to(target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is held out
        errors = check(root).errors
    assert sorted(errors) == [f"{root / 'images' / name} has no mask" for name in ("gone.jpg", "loop.jpg")]


def test_masks_as_jpeg(root, write_mask):
    (root / "masks" / "f2.png").unlink()
    write_mask(root / "masks" / "f2.jpg", ROWS)
    (error,) = check(root).errors
    assert re.search("f2.jpg: .*JPEG.*PNG", error)


def test_a_jpeg_under_the_name_of_another(root, write_mask):
    jpeg = write_mask(root / "f2.jpg", ROWS)
    jpeg.rename(root / "masks" / "f2.png")
    (error,) = check(root).errors
    assert re.search("f2.png: .*JPEG.*PNG", error)


@pytest.mark.parametrize(
    ("orientation", "size", "is_told"), [(3, (11, 7), True), (1, (11, 7), False), (6, (7, 7), True)]
)
def test_images_that_exif_rotates_without_a_change_of_size(root, write_mask, orientation, size, is_told):
    write_mask(root / "masks" / "f1.png", ROWS, width=size[0])
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(root / "images" / "f1.jpg", exif=exif)
    report = check(root)
    assert report.errors == []
    assert [f"look at {root}/images/f1.jpg" in warning for warning in report.warnings] == [True] * is_told


def test_a_damaged_exif_is_one_line(root):
    """Its width is a text, which Pillow reads and cannot write again when it turns the image."""
    entries = struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0") + struct.pack("<HHIHH", 0x0112, 3, 1, 3, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)
    Image.new("RGB", (11, 7)).save(root / "images" / "f1.jpg", exif=exif)
    (error,) = check(root).errors
    assert "f1.jpg: cannot be read (it is damaged, or its metadata are)" in error


def test_processes_find_the_same(root):
    (root / "masks" / "f1.png").write_bytes(b"")
    alone, together = check(root), check(root, workers=2)
    assert alone.errors == together.errors
    assert alone.splits["train"].pixels == together.splits["train"].pixels


def test_values_are_diagnosed_over_all_splits(root, write_mask):
    write_mask(root / "masks" / "f5.png", [0, 1, 2, 3, 3, 3, 3])
    assert check(root).num_classes == 4
    report = check(root, num_classes=3)
    (error,) = report.errors
    assert re.search("up to 3 for 3 classes.* 4 classes", error)
    assert report.is_proposed
    assert report.class_pixels("train")[[0, 1, 255]].tolist() == [88, 88, 44 + 88]
    assert check(root, id_map={0: 255, 1: 0, 2: 1, 3: 2, 255: 255}).errors == []


def test_absent_classes_are_a_warning(root, write_mask):
    for name in ("f4", "f5"):
        write_mask(root / "masks" / f"{name}.png", [0, 0, 2, 2, 2, 2, 2])
    (root / "classes.txt").write_text("soil\ncrop\nweed\nstone\n")
    report = check(root)
    assert report.errors == []
    assert report.warnings == ["train has no pixel of stone", "val has no pixel of crop, stone"]


def test_palettes_that_differ_are_counted_by_their_colours(root):
    for name, palette in (("f0", [0, 0, 0, 255, 0, 0]), ("f1", [0, 0, 0, 0, 255, 0])):
        image = Image.fromarray(np.repeat(np.array([0, 1, 1, 1, 1, 1, 1], np.uint8)[:, None], 11, 1))
        image.putpalette(palette)
        image.save(root / "masks" / f"{name}.png")
    (root / "train.txt").write_text("f0\nf1\n")
    (root / "val.txt").write_text("f0\n")
    report = check(root)
    assert "value 1 is #00ff00, #ff0000" in report.errors[0]
    assert report.class_pixels("train")[:3].tolist() == [22, 66, 66]
    assert check(root, id_map={"#000000": 0, "#00ff00": 1, "#ff0000": 2}).errors == []


def test_the_quick_part_reads_a_few_spread_over_the_split(root):
    (root / "images" / "f1.jpg").write_bytes(b"")
    splits = {split: open_dataset(root, split, num_classes=5) for split in ("train", "val")}
    report = check_splits(splits, 5, limit=2)
    assert [facts.inspected for facts in report.splits.values()] == [2, 2]
    assert report.errors == report.warnings == []  # not of f1, nor of classes that two files lack
    assert len(check_splits(splits, 5, limit=4).errors) == 1


def test_void_is_counted_once(small_camvid):
    report = check(small_camvid)
    assert (report.format, report.num_classes, report.errors) == ("camvid", 11, [])
    assert report.class_pixels("val").sum() == 360 * 480


def test_no_split_at_all(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="no images with masks: .*masks/"):
        check(tmp_path, "folder")


def test_rgb_masks_stay_colours_where_some_are_black(root, write_mask):
    """An image without an object has a black mask, whose equal channels look like ids of 0."""
    for i in range(6):
        write_mask(root / "masks" / f"f{i}.png", [(0, 0, 0)] * 6 + [(0, 0, 0) if i % 2 else (0, 255, 0)])
    for limit in (None, 32):
        splits = {split: open_dataset(root, split) for split in ("train", "val")}
        report = check_splits(splits, None, limit)
        assert re.search("RGB.* #000000, #00ff00", report.errors[0])
        assert report.id_map.mapping == {(0, 0, 0): 0, (0, 255, 0): 1}
        assert report.class_pixels("val")[:2].tolist() == [13 * 11, 11]


def test_a_true_mixture_is_none_of_colours(root, write_mask):
    write_mask(root / "masks" / "f0.png", [(0, 0, 0), (0, 255, 0), *[(0, 0, 0)] * 5])
    (error,) = check(root).errors
    assert "1 of 6 masks" in error


def test_a_split_that_training_lacks(root):
    (root / "val.txt").unlink()
    with pytest.warns(UserWarning, match="1 of 4 images .*f3"):
        report = check(root)
    assert report.errors == []
    assert [facts.images for facts in report.splits.values()] == [3, 1]


def test_a_split_without_a_label(root, write_mask):
    for name in ("f4", "f5"):
        write_mask(root / "masks" / f"{name}.png", [255] * 7)
    (error,) = check(root).errors
    assert re.search("no pixel of val .* void", error)


def test_images_in_two_splits_are_a_warning(root):
    (root / "val.txt").write_text("f3\nf4\nf5\n")
    report = check(root)
    assert report.errors == []
    (warning,) = report.warnings
    assert re.search(rf"val .*1 image .*train .*{root}/images/f3.jpg", warning)


def test_numbers_out_of_range(root):
    for count in (0, 1, -1, 255, "x", 2.0, True):
        with pytest.raises(ValueError, match=rf"num_classes={count!r}: .*2 to 254"):
            check(root, num_classes=count)
    with pytest.raises(ValueError, match="workers=-1: .*0 or more"):
        check(root, workers=-1)


def test_copies_of_images_in_two_splits_are_a_warning(root):
    shutil.copy(root / "images" / "f0.jpg", root / "images" / "f4.jpg")
    (warning,) = check(root).warnings
    assert re.search("val has copies of 1 image of train .*f4.jpg of .*f0.jpg", warning)
    (root / "images" / "f4.jpg").unlink()
    assert not any("copies" in text for text in check(root, skip_unusable=True).warnings)


@pytest.mark.parametrize("colours", [[0, 255], [(0, 0, 0), (128, 64, 128), (255, 0, 0)]])
def test_masks_with_noise_are_read_as_the_check_proposes(tmp_path, write_image, colours):
    for i in range(5):
        write_image(tmp_path / "images" / f"{i}.png", 240, 320)
        mask = np.zeros((240, 320, *np.shape(colours[0])), np.uint8)
        for k, colour in enumerate(colours[1:]):
            mask[40:200, 32 + 128 * k : 144 + 128 * k] = colour
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.jpg", quality=75)
    with pytest.warns(UserWarning, match="1 of 5"):
        report = check(tmp_path)
    assert report.errors[-1].startswith("the masks have noise")
    assert (report.num_classes, report.options) == (len(colours), {"snap": True})
    id_map = (
        {f"#{a:02x}{b:02x}{c:02x}": i for (a, b, c), i in report.id_map.mapping.items()} if len(colours) > 2 else None
    )
    ids = open_dataset(tmp_path, "train", id_map=id_map or report.id_map.mapping, snap=True).ids(0)
    assert 1 in (ids[120, 80], ids[120, 208])
    assert (ids == 0).mean() == pytest.approx(1 - 160 * 112 * (len(colours) - 1) / 76800, abs=0.02)


def test_images_that_are_not_what_they_seem_are_said(write_pairs, tmp_path):
    root = write_pairs(*[[0, 0, 1, 1]] * 10)
    for i in range(10):
        name = root / "images" / f"f{i}"
        name.with_suffix(".jpg").unlink()
        if i < 5:
            Image.fromarray(np.full((4, 11), 100 * i + 1, np.uint16)).save(name.with_suffix(".png"))
        else:
            Image.fromarray(np.full((4, 11, 4), 30, np.uint8)).save(name.with_suffix(".png"))
    with pytest.warns(UserWarning, match="held out"):
        report = check(root, holdout="fifth")
    assert report.errors == []
    lines = " ".join(report.warnings)
    assert re.search(r"4 of 8 images of train, the first .*f1.png: values up to 101 where 65535", lines)
    assert re.search(r"4 of 8 images of train, the first .*f6.png: 100% of the pixels are transparent", lines)
    splits = {"train": open_dataset(root, "train", holdout="fifth")}
    with pytest.warns(UserWarning, match=r"4 of 8 images .*, and 1 more; `srzoo data check here` lists all") as said:
        check_quickly(splits, 2, "here")
    assert len(said) == 1
    dataset = AugmentedDataset(splits["train"], lambda *pair: pair, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dataset[0][0].shape == (4, 11, 3)


@pytest.mark.parametrize(("classes", "told"), [(11, True), (4, True), (3, False)])
def test_masks_for_fewer_classes_than_the_model_has(write_pairs, classes, told):
    splits = {"train": open_dataset(write_pairs([0, 1, 255], [0, 1, 1]), "train", num_classes=classes)}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_quickly(splits, classes, "here")
    assert [str(each.message).count("--num_classes 2") for each in said] == [1] * told
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_quickly(splits, classes, "here", may_be_void=True)  # as before an evaluation


def test_masks_of_two_encodings_in_one_folder(write_pairs):
    root = write_pairs([0, 1], [0, 1], [0, 255], [0, 255], [0, 1], [0, 0])
    with pytest.warns(UserWarning, match="held out"):
        report = check(root)
    assert re.search(r"two encodings.*f2.png", report.errors[0])
    assert (report.id_map.mapping, report.num_classes) == ({0: 0, 1: 1, 255: 1}, 2)
    with pytest.warns(UserWarning, match="held out"):
        report = check(root, id_map={0: 0, 1: 1, 255: 255})
    assert report.errors == []


def test_many_notes_of_one_kind_are_counted(write_coco):
    boxes = [{"category_id": 7, "bbox": [i % 5, 1, 4, 4], "segmentation": []} for i in range(40)]
    report = check(write_coco(boxes))
    (line,) = [each for each in report.warnings if "annotation" in each]
    assert re.search("annotation 0 has a box and no polygon.*; 39 others are like it", line)


class Dying(list):
    """Images of which reading one kills the process."""

    split = "train"

    def image(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_told():
    with pytest.raises(RuntimeError, match="train was killed.*--workers, or 0"):
        list(_inspected(Dying(), [0], workers=1))
