import pytest

from srzoo.data.check import check
from srzoo.data.opening import open_dataset


def test_the_scene_parsing_layout(tmp_path, write_image, write_mask):
    for folder, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        write_image(tmp_path / "images" / folder / f"{name}.jpg", 151)
        write_mask(tmp_path / "annotations" / folder / f"{name}.png", range(151))
    dataset = open_dataset(tmp_path, "val")
    assert (dataset.format, len(dataset)) == ("ade20k", 1)
    assert dataset.image_name(0).endswith("ADE_val_00000001.jpg")
    assert dataset[0][1][:, 4].tolist() == [255, *range(150)]
    assert len(dataset.labels.classes) == 150
    write_mask(tmp_path / "annotations" / "training" / "ADE_train_00000001.png", [151] * 151)
    with pytest.raises(ValueError, match=r"ADE_train_00000001.png: id 151 "):
        open_dataset(tmp_path, "train")[0]


def test_the_files_of_all_classes_are_told(tmp_path, write_image):
    root = tmp_path / "ADE20K_2021_17_01"
    for ending in (".jpg", "_seg.png", "_parts_1.png"):
        write_image(root / "images" / "ADE" / "training" / "urban" / "street" / f"ADE_train_00000001{ending}")
    with pytest.raises(ValueError, match="all of ADE20K.*ADEChallengeData2016"):
        check(tmp_path)
