import pytest

from srzoo.data.check import check
from srzoo.data.objects import Segment
from srzoo.data.opening import open_dataset

# The benchmark's ids of its nineteen classes, in order (cityscapesScripts, labels.py).
EVALUATED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


@pytest.fixture
def root(tmp_path, write_image, write_mask):
    for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "lindau")):
        stem = f"{city}_000000_000019"
        write_image(tmp_path / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", 34)
        write_mask(tmp_path / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", range(34))
        write_mask(tmp_path / "gtFine" / split / city / f"{stem}_gtFine_instanceIds.png", range(34), dtype="uint16")
    return tmp_path


def test_the_nineteen_classes(root):
    dataset = open_dataset(root, "train")
    assert (dataset.format, len(dataset)) == ("cityscapes", 2)
    assert [image.name[:6] for image, _ in dataset.pairs] == ["aachen", "bochum"]
    image, ids = dataset[1]
    assert image.shape == (34, 11, 3)
    assert ids[:, 0].tolist() == [EVALUATED.index(i) if i in EVALUATED else 255 for i in range(34)]


def test_hidden_files_are_passed_over(root):
    for folder in ("leftImg8bit/train", "leftImg8bit/train/aachen", "gtFine/train"):
        (root / folder / ".DS_Store").write_bytes(b"junk")
    (root / "leftImg8bit/train/aachen/._aachen_000000_000019_leftImg8bit.png").write_bytes(b"junk")
    assert len(open_dataset(root, "train")) == 2


def test_what_is_missing(root):
    with pytest.raises(FileNotFoundError, match="no folders leftImg8bit/test and gtFine/test"):
        open_dataset(root, "test")
    next((root / "gtFine" / "val" / "lindau").glob("*labelIds.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"lindau_000000_000019_leftImg8bit.png has no mask"):
        open_dataset(root, "val")
    next((root / "leftImg8bit" / "train" / "bochum").iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match=r"bochum_000000_000019_gtFine_labelIds.png has no image"):
        open_dataset(root, "train")


# Rows of an instanceIds file: void, road, a group of cars, two cars, a caravan (which is not evaluated), a person.
INSTANCES = [0, 7, 26, 26000, 26001, 29000, 24013]


@pytest.fixture
def instances(tmp_path, write_image, write_mask):
    stem = "aachen_000000_000019"
    for split in ("train", "val"):
        write_image(tmp_path / "leftImg8bit" / split / "aachen" / f"{stem}_leftImg8bit.png", 7)
        file = tmp_path / "gtFine" / split / "aachen" / f"{stem}_gtFine_instanceIds.png"
        write_mask(file, INSTANCES, dtype="uint16")
    return tmp_path


def test_instances(instances):
    data = open_dataset(instances, "train", task="instance")
    assert (data.format, data.labels.classes[2], data.image_ids) == ("cityscapes", "car", ["aachen_000000_000019"])
    assert data.category_ids == (24, 25, 26, 27, 28, 31, 32, 33)
    objects = data[0].objects
    assert [data.labels.classes[i] for i in objects.classes] == ["car", "person", "car", "car"]
    assert objects.ids == [26, 24013, 26000, 26001]
    assert objects.crowd.tolist() == [True, False, False, False]
    assert objects.boxes.tolist() == [[0, row, 11, row + 1] for row in (2, 6, 3, 4)]


def test_panoptic(instances):
    data = open_dataset(instances, "train", task="panoptic")
    assert data.category_ids == tuple(EVALUATED)
    _, ids, segments = data[0]
    assert ids[:, 3].tolist() == [0, 7, 26, 26000, 26001, 0, 24013]
    assert segments == [
        Segment(7, 0, False, 11),
        Segment(26, 13, True, 11),
        Segment(24013, 11, False, 11),
        Segment(26000, 13, False, 11),
        Segment(26001, 13, False, 11),
    ]
    assert [data.labels.things[segment.class_id] for segment in segments] == [False, True, True, True, True]


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_ids_of_no_class(instances, write_mask, task):
    file = next((instances / "gtFine" / "val").rglob("*instanceIds.png"))
    write_mask(file, [0, 7, 34000, 0, 0, 0, 0], dtype="uint16")
    with pytest.raises(ValueError, match="instanceIds.png: the id 34000 .*33"):
        open_dataset(instances, "val", task=task)[0]
    report = check(instances, task=task)
    assert ["34000" in error for error in report.errors] == [True]


def test_files_of_instances_that_are_missing(root):
    next((root / "gtFine" / "val" / "lindau").glob("*instanceIds.png")).unlink()
    with pytest.raises(FileNotFoundError, match="lindau_000000_000019_leftImg8bit.png has no mask"):
        open_dataset(root, "val", task="panoptic")


def test_files_of_train_ids_where_there_are_no_others(root, write_mask):
    for path in (root / "gtFine").rglob("*labelIds.png"):
        write_mask(path.with_name(path.name.replace("labelIds", "labelTrainIds")), [*range(19), *[255] * 15])
        path.unlink()
    dataset = open_dataset(root, "train")
    assert dataset.labels.classes[13] == "car"
    assert dataset.ids(0)[:, 0].tolist() == [*range(19), *[255] * 15]


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_polygons_alone_are_told_with_what_writes_the_masks(root, task):
    for path in [*(root / "gtFine").rglob("*Ids.png")]:
        path.rename(path.with_name(path.name.replace("labelIds.png", "polygons.json").replace("instanceIds", "x")))
    with pytest.raises(ValueError, match="train has polygons alone.*csCreateTrainIdLabelImgs"):
        check(root, task=task)
