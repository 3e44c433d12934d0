"""Real sets as their owners' tools wrote them, which are not in the repository."""

import os
from pathlib import Path

import pytest

from srzoo.data.check import check
from srzoo.data.opening import open_dataset

pytestmark = pytest.mark.filterwarnings("default:.*has no split for val")


@pytest.fixture
def messy():
    root = os.environ.get("SRZOO_MESSY")
    if not root:
        pytest.skip("set SRZOO_MESSY to the folder of sets as tools wrote them")
    return Path(root)


@pytest.mark.parametrize(
    ("name", "task", "format", "counts", "classes"),
    [
        ("labelme", "semantic", "labelme", (2, 1), 7),
        ("labelme", "instance", "labelme", (2, 1), 6),
        ("voc", "semantic", "voc", (2, 1), 21),
        ("speedometer_supervisely", "semantic", "supervisely", (17, 4), 3),
        ("speedometer_supervisely", "instance", "supervisely", (17, 4), 2),
        ("cvat_coco", "semantic", "coco", (5, 1), 24),
        ("cvat_coco", "instance", "coco", (5, 1), 23),
        ("pothole_coco", "semantic", "coco", (80, 5), 2),
        ("pothole_coco", "instance", "coco", (80, 5), 1),
    ],
)
def test_sets_that_are_read(messy, name, task, format, counts, classes):
    report = check(messy / name, task=task)
    assert (report.errors, report.format) == ([], format)
    assert tuple(report.splits[split].images for split in ("train", "val")) == counts
    assert len(report.labels.classes) == classes


def test_two_ways_to_the_same_masks(messy):
    """labelme2voc drew the masks with another rule for the border, and names all of VOC's classes."""
    for name in ("2011_000003", "2011_000006", "2011_000025"):
        ids = []
        for folder in ("labelme", "voc"):
            for split in ("train", "val"):
                data = open_dataset(messy / folder, split)
                ids += [
                    (data.labels.classes, data.ids(i))
                    for i in range(len(data))
                    if Path(data.image_name(i)).stem == name
                ]
        (drawn_names, drawn), (names, masks) = ids
        index = [0, *(names.index(each) for each in drawn_names[1:])] + [255] * (256 - len(drawn_names))
        same = sum(int(index[a] == b) for a, b in zip(drawn.ravel().tolist(), masks.ravel().tolist()))
        assert same > 0.98 * drawn.size


def test_what_the_check_proposes_is_read(messy):
    root = messy / "satellite"
    report = check(root)
    assert sum("they must be of one size" in error for error in report.errors) == 4
    assert report.options == {"resize_masks": True}
    id_map = {f"#{key[0]:02x}{key[1]:02x}{key[2]:02x}": value for key, value in report.id_map.mapping.items()}
    again = check(root, id_map=id_map, **report.options)
    assert (again.errors, again.num_classes) == ([], 12)
    assert open_dataset(root, "train", id_map=id_map, **report.options)[0].ids.max() < 12
