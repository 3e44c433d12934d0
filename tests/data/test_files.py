import pytest

from srzoo.data.files import NoSplit, files_by_stem, pair


def test_files_are_joined_by_name_and_the_others_are_told(tmp_path, write_image, write_mask):
    for name in ("a.jpg", "b.JPG", "c.png"):
        write_image(tmp_path / "images" / name)
    for name in ("b", "c", "d"):
        write_mask(tmp_path / "masks" / f"{name}.png", range(7))
    (tmp_path / "images" / "notes.txt").touch()
    (tmp_path / "images" / "._c.png").touch()  # what a Mac leaves behind
    pairs, unpaired = pair(files_by_stem(tmp_path / "images"), files_by_stem(tmp_path / "masks"))
    assert [(image.name, mask.name) for image, mask in pairs] == [("b.JPG", "b.png"), ("c.png", "c.png")]
    assert unpaired == [f"{tmp_path}/images/a.jpg has no mask", f"{tmp_path}/masks/d.png has no image"]


def test_a_split_s_list_chooses(tmp_path, write_image, write_mask):
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.jpg")
        write_mask(tmp_path / "masks" / f"{name}.png", range(7))
    files = files_by_stem(tmp_path / "images"), files_by_stem(tmp_path / "masks")
    pairs, unpaired = pair(*files, ["b", "z"])
    assert [image.name for image, _ in pairs] == ["b.jpg"]
    assert unpaired == ["z is in the split's list, but there is no such image"]


def test_two_files_of_one_name(tmp_path, write_image):
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"/a.jpg and .*/a.png have one name"):
        files_by_stem(tmp_path)
    with pytest.raises(NoSplit, match="no folder .*gone"):
        files_by_stem(tmp_path / "gone")
