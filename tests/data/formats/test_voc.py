import numpy as np
import pytest
from PIL import Image

from srzoo.data.files import NoSplit
from srzoo.data.opening import detect_format, open_dataset

pytestmark = pytest.mark.filterwarnings("default:.*has no split for val")
CLASSES, OBJECTS = [0, 1, 1, 2, 2, 255, 0], [0, 1, 1, 2, 3, 255, 0]


@pytest.fixture
def voc(tmp_path, write_image, write_mask):
    for name in ("a", "b"):
        write_image(tmp_path / "JPEGImages" / f"{name}.jpg")
        write_mask(tmp_path / "SegmentationClass" / f"{name}.png", CLASSES)
        write_mask(tmp_path / "SegmentationObject" / f"{name}.png", OBJECTS)
    return tmp_path


def test_names_of_labelme(voc):
    (voc / "class_names.txt").write_text("_background_\ndog\ncat")
    data = open_dataset(voc, "train")
    assert (data.format, data.labels.classes) == ("voc", ("_background_", "dog", "cat"))
    assert data.ids(0)[:, 0].tolist() == CLASSES


def test_lists_name_the_split(voc):
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("b\n")
    (lists / "val.txt").write_text("a\n")
    assert [open_dataset(voc, split).pairs[0][0].stem for split in ("train", "val")] == ["b", "a"]
    with pytest.raises(NoSplit, match="'test'"):
        open_dataset(voc, "test")


def test_colours_of_cvat(voc):
    (voc / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:9,8,7::\ncat:1,2,3::\n")
    table = np.zeros((256, 3), np.uint8)
    table[1], table[2], table[255] = (9, 8, 7), (1, 2, 3), (224, 224, 192)
    for name in ("a", "b"):
        path = voc / "SegmentationClass" / f"{name}.png"
        Image.fromarray(table[np.array(Image.open(path))]).save(path)
    data = open_dataset(voc, "train")
    assert data.labels.palette == ((0, 0, 0), (9, 8, 7), (1, 2, 3))
    assert data.ids(0)[:, 0].tolist() == CLASSES
    found = open_dataset(voc, "train", task="instance").objects(0)
    assert (found.ids, found.classes.tolist()) == ([1, 2, 3], [0, 1, 1])


def test_the_palette_of_the_masks_is_the_model_s(voc):
    (voc / "class_names.txt").write_text("_background_\ndog\ncat")
    for name in ("a", "b"):
        path = voc / "SegmentationClass" / f"{name}.png"
        image = Image.fromarray(np.array(Image.open(path)))
        image.putpalette([5, 5, 5, 10, 20, 30, 40, 50, 60, *[0] * (253 * 3)])
        image.save(path)
    assert open_dataset(voc, "train").labels.palette == ((5, 5, 5), (10, 20, 30), (40, 50, 60))


def test_objects_need_names_and_masks_of_their_own(voc):
    with pytest.raises(ValueError, match=r"class_names.txt"):
        open_dataset(voc, "train", task="instance")
    (voc / "class_names.txt").write_text("_background_\ndog\ncat")
    assert open_dataset(voc, "train", task="instance").labels.classes == ("dog", "cat")
    for path in (voc / "SegmentationObject").iterdir():
        path.unlink()
    with pytest.raises(NoSplit, match="no SegmentationObject/"):
        open_dataset(voc, "train", task="instance")


def test_a_folder_in_the_folder(voc, tmp_path):
    (tmp_path / "VOCdevkit").mkdir()
    for name in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (tmp_path / name).rename(tmp_path / "VOCdevkit" / name)
    for name in ("Annotations", "ImageSets"):
        (tmp_path / "VOCdevkit" / name).mkdir()
    assert detect_format(tmp_path) == "voc"
    assert open_dataset(tmp_path, "train").labels.classes[20] == "tvmonitor"
