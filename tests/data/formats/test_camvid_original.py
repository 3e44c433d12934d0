import pytest

from srzoo.data.formats.camvid_original import _split_of, id_map
from srzoo.data.opening import open_dataset

# A colour of each class, then void: by the dataset's own label_colors.txt.
ROWS = {
    "Sky": (128, 128, 128),
    "Bridge": (0, 128, 64),
    "TrafficCone": (0, 0, 64),
    "LaneMkgsDriv": (128, 0, 192),
    "Sidewalk": (0, 0, 192),
    "VegetationMisc": (192, 192, 0),
    "TrafficLight": (0, 64, 64),
    "Fence": (64, 64, 128),
    "SUVPickupTruck": (64, 128, 192),
    "Child": (192, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "Void": (0, 0, 0),
}


def frames(root, write_image, write_mask, folders, names):
    for name in names:
        write_image(root / folders[0] / f"{name}.png", len(ROWS))
        write_mask(root / folders[1] / f"{name}_L.png", list(ROWS.values()))


def test_the_published_folders_with_segnet_s_splits(tmp_path, write_image, write_mask):
    names = ["0001TP_008520", "0001TP_008550", "0006R0_f00930", "0016E5_00390", "0016E5_07959", "Seq05VD_f00000"]
    frames(tmp_path, write_image, write_mask, ("701_StillsRaw_full", "LabeledApproved_full"), names)
    found = {split: open_dataset(tmp_path, split) for split in ("train", "val", "test")}
    assert found["train"].format == "camvid_original"
    stems = {split: [image.stem for image, _ in data.pairs] for split, data in found.items()}
    assert stems == {"train": [names[0], *names[2:4]], "val": [names[4]], "test": [names[1], names[5]]}
    image, ids = found["val"][0]
    assert image.shape == (12, 11, 3)
    assert ids[:, 5].tolist() == [*range(11), 255]


def test_a_folder_for_each_split(tmp_path, write_image, write_mask):
    for split in ("train", "val"):
        frames(tmp_path, write_image, write_mask, (split, f"{split}_labels"), ["0001TP_006690"])
    dataset = open_dataset(tmp_path, "val")
    assert dataset.format == "camvid_original"
    assert dataset[0][1][:, 0].tolist() == [*range(11), 255]


def test_every_one_of_the_32_colours_has_a_place():
    mapping = id_map().mapping
    assert len(mapping) == 32
    assert set(mapping.values()) == {*range(11), 255}


def test_a_colour_that_is_none_of_them(tmp_path, write_image, write_mask):
    write_image(tmp_path / "train" / "0001TP_006690.png", 1)
    write_mask(tmp_path / "train_labels" / "0001TP_006690_L.png", [(1, 2, 3)])
    with pytest.raises(ValueError, match=r"0001TP_006690_L.png: colour #010203 is not in the id map"):
        open_dataset(tmp_path, "train")[0]


def test_the_splits_are_those_of_the_segnet_layout(camvid):
    for split in ("train", "val"):
        assert {_split_of(path.stem) for path in (camvid / split).glob("*.png")} == {split}
