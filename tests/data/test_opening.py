import json

import pytest

from srzoo.data.check import check
from srzoo.data.formats import FORMATS
from srzoo.data.opening import detect_format, open_dataset


def test_a_folder_that_is_not_a_dataset(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=r"no known layout: it holds no files.*images/.*masks/"):
        detect_format(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder .*gone"):
        detect_format(tmp_path / "gone")


def test_names_that_are_unknown(write_pairs):
    root = write_pairs([0, 1], [0, 1])
    with pytest.raises(ValueError, match="'citiscapes'.*'cityscapes'"):
        open_dataset(root, "train", "citiscapes")
    with pytest.raises(ValueError, match="'training'.*train, val, test"):
        open_dataset(root, "training")


def test_a_format_that_the_folder_does_not_have(write_pairs):
    root = write_pairs([0, 1], [0, 1])
    for name in FORMATS:
        if name not in ("folder", "huggingface"):
            with pytest.raises(FileNotFoundError, match=r"no |has no "):
                open_dataset(root, "train", name, task=FORMATS[name].tasks[0])


def test_a_task_that_the_format_cannot_read(small_camvid):
    with pytest.raises(ValueError, match="'camvid' .*'panoptic'.* cityscapes, coco_panoptic"):
        open_dataset(small_camvid, "train", task="panoptic")


def test_formats_are_known_by_their_names():
    for name, format in FORMATS.items():
        assert format.name == name
        assert format.layout
        assert format.tasks


def test_classes_that_contradict_the_model(small_camvid):
    with pytest.raises(ValueError, match="11 classes, .* 19"):
        open_dataset(small_camvid, "train", num_classes=19)


def test_readers_import_no_torch(run_python, small_camvid):
    code = (
        "import sys; from srzoo.data.check import check\n"
        f"assert check({str(small_camvid)!r}).format == 'camvid'\n"
        "assert 'torch' not in sys.modules"
    )
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_colours_of_an_id_map_are_those_of_the_classes(write_pairs):
    root = write_pairs(*[[(255, 0, 0), (0, 0, 9)]] * 2)
    id_map = {"#000009": 0, "#ff0000": 1, "#ffffff": 255}
    labels = open_dataset(root, "train", id_map=id_map).labels
    assert (labels.classes, labels.palette) == (("class 0", "class 1"), ((0, 0, 9), (255, 0, 0)))
    assert open_dataset(root, "train", id_map=id_map, num_classes=3).labels is None


def test_a_layout_in_a_folder_that_holds_nothing_else(tmp_path, write_image, write_mask):
    inner = tmp_path / "archive" / "ADEChallengeData2016"
    for split in ("training", "validation"):
        write_image(inner / "images" / split / "a.jpg", 3)
        write_mask(inner / "annotations" / split / "a.png", [0, 1, 150])
    (inner / "sceneCategories.txt").write_text("a street\n")
    assert detect_format(tmp_path) == "ade20k"
    for how in ({}, {"format": "ade20k"}):
        assert open_dataset(tmp_path, "train", **how).ids(0)[:, 0].tolist() == [255, 0, 149]


def test_of_two_layouts_one_is_read_and_the_other_told(write_panoptic):
    root = write_panoptic([{"id": 5, "category_id": 7}])
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    report = check(root)
    assert report.format == "coco_panoptic"
    assert any("files of coco, too; coco_panoptic is read" in line for line in report.warnings)
