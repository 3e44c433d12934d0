import json

import numpy as np
import pytest
from PIL import Image

from srzoo.data.opening import detect_format, open_dataset
from srzoo.data.survey import survey


def write(root, folder, count, few_colours, ending=".png", prefix="f"):
    rng = np.random.default_rng(0)
    (root / folder).mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 2 if few_colours else 255, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / folder / f"{prefix}{i}{ending}")


def test_folders_of_other_names_and_the_line_to_type(tmp_path):
    write(tmp_path, "a b", 3, few_colours=False, ending=".jpg")
    write(tmp_path, "c", 3, few_colours=True)
    assert survey(tmp_path).startswith("it holds 3 images in a b/, 3 images in c/")
    with pytest.raises(ValueError, match=r"--data.images 'a b/\*' --data.masks 'c/\*'"):
        detect_format(tmp_path)


def test_masks_of_other_names(tmp_path):
    write(tmp_path, "a", 2, few_colours=False)
    write(tmp_path, "c", 1, few_colours=True, prefix="other")
    (tmp_path / "c" / "other0.png").rename(tmp_path / "c" / "other7.png")
    assert "none has the name of an image (other7.png)" in survey(tmp_path)


def test_masks_of_label_studio(tmp_path):
    write(tmp_path, "images", 1, few_colours=False)
    (tmp_path / "images" / "f0.png").rename(tmp_path / "images" / "photo.png")
    write(tmp_path, "masks", 2, few_colours=True, prefix="task-1-annotation-7-by-1-tag-crack-")
    with pytest.raises(FileNotFoundError, match="Label Studio.*export the project as JSON"):
        open_dataset(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.zip", "", "a.zip is an archive: unpack it"),
        ("a.xml", "<annotation><object><bndbox/></object></annotation>", "boxes alone"),
        ("a.json", json.dumps({"frames": 1, "tracks": []}), "a.json is of no known tool .*'frames', 'tracks'"),
        ("a.json", "{", "no JSON"),
        ("rows.ndjson", "{}", "rows.ndjson is rows of JSON.*COCO"),
        ("notes.md", "", "No masks and no annotations"),
        ("roofs.geojson", "{}", "roofs.geojson is a file of shapes of a map"),
        ("a_0000.nii.gz", "", "a_0000.nii.gz is a volume"),
        ("a.npz", "", "a.npz is a set of arrays"),
    ],
)
def test_what_else_lies_there(tmp_path, name, content, said):
    write(tmp_path, "photos", 2, few_colours=False)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"2 images in photos/.*{said}"):
        detect_format(tmp_path)


def test_a_dataset_in_the_folder(tmp_path, write_image, write_mask):
    write_image(tmp_path / "v1" / "images" / "a.jpg")
    write_mask(tmp_path / "v1" / "masks" / "a.png", [0, 1])
    (tmp_path / "v1").rename(tmp_path / "set")
    write(tmp_path, "more", 1, few_colours=False)
    assert detect_format(tmp_path) == "folder"  # it is found at any depth


def test_masks_among_the_images(tmp_path):
    write(tmp_path, "a", 3, few_colours=False, ending=".jpg")
    write(tmp_path, "b", 3, few_colours=True, ending="_1stHO.png")
    for path in (tmp_path / "b").iterdir():
        path.rename(tmp_path / "a" / path.name)
    with pytest.raises(ValueError, match=r"pass --data.images 'a/\*.jpg' --data.masks 'a/\*_1stHO.png'"):
        detect_format(tmp_path)


def test_two_images_of_one_mask(tmp_path):
    for split in ("train", "val"):
        for folder in "AB":
            write(tmp_path, f"{split}/{folder}", 3, few_colours=False)
        write(tmp_path, f"{split}/change", 3, few_colours=True)
    said = survey(tmp_path)
    assert "--data.images '**/A/*' --data.masks '**/change/*', or the images '**/B/*'" in said


def test_masks_as_arrays(tmp_path):
    write(tmp_path, "photos", 3, few_colours=False)
    (tmp_path / "trainval").mkdir()
    for i in range(3):
        np.save(tmp_path / "trainval" / f"f{i}.npy", np.zeros((20, 30), np.uint8))
    assert "--data.images 'photos/*' --data.masks 'trainval/*'" in survey(tmp_path)


def test_few_names_that_happen_to_be_alike_are_no_pairs(tmp_path):
    write(tmp_path, "a", 9, few_colours=False)
    write(tmp_path, "c", 3, few_colours=True)
    for i in range(3):
        (tmp_path / "c" / f"f{i}.png").rename(tmp_path / "c" / f"q{7 * i}.png")
    assert "write pairs.csv with the columns image and mask" in survey(tmp_path)


def test_files_of_several_images(tmp_path):
    pages = [Image.fromarray(np.full((20, 30), i, np.uint8)) for i in range(4)]
    pages[0].save(tmp_path / "volume.tif", save_all=True, append_images=pages[1:])
    assert "volume.tif has 4 pages" in survey(tmp_path)
    (tmp_path / "volume.tif").unlink()
    np.save(tmp_path / "X.npy", np.zeros((9, 20, 30, 3), np.uint8))
    assert "X.npy is an array of the shape (9, 20, 30, 3)" in survey(tmp_path)


def test_images_that_are_cut_out(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 4), np.uint8)
    pixels[..., 3] = np.arange(30) // 15 * 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert "a.png is cut out" in survey(tmp_path)


def test_folders_of_the_same_names_in_both(tmp_path):
    for scene in ("s0", "s1"):
        write(tmp_path, f"a/{scene}", 3, few_colours=False)
        write(tmp_path, f"b c/{scene}", 3, few_colours=True)
    assert "pass --data.images 'a/**/*' --data.masks 'b c/**/*'" in survey(tmp_path)
    for split in ("train", "val"):
        write(tmp_path / "sets", split, 3, few_colours=False)
        write(tmp_path / "sets", f"things/{split}", 3, few_colours=True)
    assert "pass --data.images '*/*' --data.masks 'things/*/*'" in survey(tmp_path / "sets")
