import shutil

import numpy as np
import pytest
from PIL import Image

from srzoo.cli import main
from srzoo.data.conversion import convert
from srzoo.data.opening import open_dataset

ROWS = [0, 1, 2, 1, 0, 255, 2]


@pytest.fixture
def root(write_pairs):
    root = write_pairs(*[ROWS] * 3)
    (root / "train.txt").write_text("f0\nf1\n")
    (root / "val.txt").write_text("f2\n")
    (root / "classes.txt").write_text("soil\nweed\ncrop\n")
    return root


def test_masks_with_names_and_colours(root, tmp_path, capsys):
    assert main(["data", "convert", str(root), str(tmp_path / "out")]) == 0
    assert "train   2 images" in capsys.readouterr().out
    for split in ("train", "val"):
        old, new = open_dataset(root, split), open_dataset(tmp_path / "out", split)
        assert (new.format, new.labels, len(new)) == ("folder", old.labels, len(old))
        for i in range(len(old)):
            assert all(np.array_equal(a, b) for a, b in zip(old[i], new[i]))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_part_is_not_left(error, root, tmp_path, monkeypatch):
    """It opened as a whole dataset, and the same command refused its folder."""
    copied = []

    def copyfile(source, target, copy=shutil.copyfile):
        if copied:
            raise error
        copied.append(copy(source, target))

    monkeypatch.setattr("shutil.copyfile", copyfile)
    command = ["data", "convert", str(root), str(tmp_path / "out")]
    assert main(command) in (2, 130)
    assert copied and not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert main(command) == 0


def test_objects_as_coco(root, tmp_path):
    (root / "classes.txt").unlink()
    assert main(["data", "convert", str(root), str(tmp_path / "out"), "--task", "instance"]) == 0
    old, new = (open_dataset(each, "val", task="instance") for each in (root, tmp_path / "out"))
    assert (new.format, new.labels.classes) == ("coco", old.labels.classes)
    (_, a), (_, b) = old[0], new[0]
    assert a.boxes.tolist() == b.boxes.tolist()
    assert np.array_equal(a.decode([0, 1]), b.decode([0, 1]))


def test_what_cannot_be_read_is_told_and_the_rest_written(root, tmp_path, capsys):
    (root / "masks" / "f0.png").write_bytes(b"")
    assert main(["data", "convert", str(root), str(tmp_path / "out")]) == 2
    assert "left out: " in (printed := capsys.readouterr().out) and "f0.png" in printed
    assert len(open_dataset(tmp_path / "out", "train")) == 1


def test_names_that_need_a_number_and_have_no_room_for_it(write_pairs, tmp_path):
    root = write_pairs([0, 1], [1, 0], [0, 0], names=["x" * 251, "X" * 251, "y"])
    (root / "train.txt").write_text("x" * 251 + "\n" + "X" * 251 + "\n")
    (root / "val.txt").write_text("y\n")
    assert main(["data", "convert", str(root), str(tmp_path / "out")]) == 0
    for folder in ("images", "masks"):
        assert {path.stem for path in (tmp_path / "out" / folder).rglob("*.*")} == {
            "0_" + "x" * 200,
            "1_" + "X" * 200,
            "y",
        }


def test_where_nothing_can_be_read_nothing_is_left(root, tmp_path, capsys):
    for path in (root / "masks").iterdir():
        path.write_bytes(b"")
    assert main(["data", "convert", str(root), str(tmp_path / "a" / "out")]) == 2
    assert "f0.png" in (printed := capsys.readouterr()).err and printed.err.count("\n") == 1 and printed.out == ""
    assert not (tmp_path / "a").exists()


def test_a_folder_that_is_not_empty(root):
    with pytest.raises(ValueError, match="not empty"):
        convert({"train": open_dataset(root, "train")}, root)


def test_a_place_that_is_no_folder(root, tmp_path):
    file = tmp_path / "out"
    file.write_text("")
    with pytest.raises(ValueError, match="out is a file"):
        convert({"train": open_dataset(root, "train")}, file)
    with pytest.raises(OSError, match="below"):  # and not that there is nothing to remove
        convert({"train": open_dataset(root, "train")}, file / "below")
    assert file.read_text() == ""


def test_an_image_with_a_rotation_is_written_upright(root, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(root / "images" / "f0.jpg").save(root / "images" / "f0.jpg", exif=exif)
    splits = {split: open_dataset(root, split) for split in ("train", "val")}
    convert(splits, tmp_path / "out")
    old, new = splits["train"], open_dataset(tmp_path / "out", "train")
    names = [path.name for path, _ in new.pairs]
    assert names == ["f0.png", "f1.jpg"]
    assert np.array_equal(old[0].image, new[0].image)


def test_panoptic_annotations_are_converted_as_classes(write_panoptic, tmp_path, capsys):
    root = write_panoptic([{"id": id, "category_id": 200, "iscrowd": 0} for id in (5, 300, 70000)])
    command = ["data", "convert", str(root), str(tmp_path / "out")]
    assert main([*command, "--task", "panoptic"]) == 2
    said = capsys.readouterr().err
    assert "panoptic" in said and "--task semantic" in said and "Coco" not in said
    assert main(command) == 0
