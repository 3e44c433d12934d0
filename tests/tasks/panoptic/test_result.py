import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from srzoo.data.formats.coco_panoptic import read_ids
from srzoo.data.opening import open_dataset
from srzoo.labels import LabelSet
from srzoo.tasks.drawing import drawn_colour
from srzoo.tasks.panoptic.maps import boxes_of, class_map
from srzoo.tasks.panoptic.result import FoundSegment, Panoptic
from srzoo.tasks.panoptic.results_folder import ResultsFolder

LABELS = LabelSet(("car", "wall", "sky"), ((200, 0, 0), (0, 200, 0), (0, 0, 200)), (True, False, False))


@pytest.fixture
def result():
    ids = np.zeros((60, 90), np.int32)
    ids[:30, 10:] = 3
    ids[30:, 10:] = 4
    ids[20:50, 20:60] = 1
    ids[35:55, 50:80] = 2
    areas = {id: int((ids == id).sum()) for id in range(1, 5)}
    scores = {1: 0.9, 2: 0.75}
    segments = [
        FoundSegment(id, class_id, areas[id], scores.get(id)) for id, class_id in {1: 0, 2: 0, 3: 2, 4: 1}.items()
    ]
    return Panoptic(Image.new("RGB", (90, 60), (100, 100, 100)), ids, segments, LABELS)


def test_to_dict(result):
    content = result.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert (content["width"], content["height"]) == (90, 60)
    assert content["segments"][1] == {"id": 2, "class": "car", "is_thing": True, "area": 600, "score": 0.75}
    assert [each["class"] for each in content["segments"]] == ["car", "car", "sky", "wall"]
    assert content["segments"][2]["score"] is None
    assert all(each["area"] == result.mask(each["id"]).sum() for each in content["segments"])


def test_found(result):
    """The share of the image of each class, and the number of objects of a thing."""
    lines = result.found()
    assert [each.name for each in lines] == ["sky", "car", "wall"]
    areas = {
        name: sum(s.area for s in result.segments if LABELS.classes[s.class_id] == name) for name in LABELS.classes
    }
    assert lines[1].value == f"{areas['car'] / 5400:.1%} (2)"
    assert lines[0].value == f"{areas['sky'] / 5400:.1%}"
    assert lines[1].colour == drawn_colour((200, 0, 0))


def test_masks_by_class_and_by_segment(result):
    assert (result.mask("car") == ((result.ids == 1) | (result.ids == 2))).all()
    assert (result.mask(2) == (result.ids == 2)).all() and (result.mask("sky") == (result.ids == 3)).all()
    with pytest.raises(ValueError, match="'skye'.*'sky'"):
        result.mask("skye")


def test_coco_annotations_are_the_segments(result):
    found = result.coco_annotations()
    assert [each.get("score") for each in found] == [0.9, 0.75, None, None]
    for each, segment in zip(found, result.segments, strict=True):
        drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(each["segmentation"], 60, 90)))
        assert (drawn.astype(bool) == (result.ids == segment.id)).all() and each["area"] == segment.area


def test_overlay(result):
    half, none, solid = (np.asarray(result.overlay(alpha)).astype(int) for alpha in (0.5, 0.0, 1.0))
    assert half[5, 3].tolist() == solid[5, 3].tolist() == [100, 100, 100]  # void is the image alone
    assert half[5, 50].tolist() == [69, 69, 163]
    assert solid[5, 50].tolist() == [*drawn_colour((0, 0, 200))]
    assert solid[46, 30].tolist() == [*drawn_colour((200, 0, 0))]
    assert solid[50, 75].tolist() != [*drawn_colour((200, 0, 0))]  # the second car has another shade
    assert none[46, 30].tolist() == [100, 100, 100]
    assert half[29, 75].tolist() == [255, 255, 255]  # the border of sky and wall
    with pytest.raises(ValueError, match="alpha.* -1"):
        result.overlay(-1)


def test_png_has_red_as_the_lowest_byte(tmp_path):
    """An id of three bytes, whose order shows."""
    ids = np.array([[0x030201, 0], [5, 300]], np.int32)
    segments = [FoundSegment(id, 1, 1, None) for id in (5, 300, 0x030201)]
    picture, entries = Panoptic(Image.new("RGB", (2, 2)), ids, segments, LABELS).to_coco([90, 0, 7])
    with pytest.raises(ValueError, match="2 category_ids .*3 classes"):
        Panoptic(Image.new("RGB", (2, 2)), ids, segments, LABELS).to_coco([90, 0])
    _, same = Panoptic(Image.new("RGB", (2, 2)), ids, segments, LABELS).to_coco(np.array([90, 0, 7]))
    assert json.loads(json.dumps(same)) == entries
    assert picture.getpixel((0, 0)) == (1, 2, 3)
    assert picture.getpixel((1, 1)) == (300 & 255, 1, 0)
    picture.save(tmp_path / "x.png")
    assert (read_ids(tmp_path / "x.png") == ids).all()
    assert [(e["id"], e["category_id"], e["bbox"], e["area"]) for e in entries] == [
        (5, 0, [0, 1, 1, 1], 1),
        (300, 0, [1, 1, 1, 1], 1),
        (0x030201, 0, [0, 0, 1, 1], 1),
    ]


def test_save(result, tmp_path):
    paths = result.save(tmp_path / "street")
    assert [path.name for path in paths] == ["street_panoptic.png", "street_panoptic.json", "street_overlay.jpg"]
    assert (read_ids(paths[0]) == result.ids).all()
    written = json.loads(paths[1].read_text())
    assert written.pop("software").startswith("srzoo ") and written == result.to_dict()
    assert result._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("target", ["out", "out/own.json"])
def test_results_are_read_as_a_dataset(scenes, tmp_path, target):
    """What is written is COCO's format, so that the reader of annotations reads it with the same ids and categories."""
    data = open_dataset(scenes, "val", task="panoptic")
    (tmp_path / "out").mkdir()
    first, second = (ResultsFolder(tmp_path / target, data) for _ in range(2))
    for index, export in ((1, first), (0, second)):
        image, ids, segments = data[index]
        found = [FoundSegment(each.id, each.class_id, each.area, 0.5) for each in segments]
        export.add(Panoptic(Image.fromarray(image), ids, found, data.labels), index, f"s{index}")
    first.merge(second)
    first.finish()
    name = "own" if target.endswith("json") else "panoptic"
    assert first.paths(["s0"]) == [tmp_path / "out" / f"{name}.json", tmp_path / "out" / name / "s0.png"]
    content = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    truth = json.loads((scenes / "annotations" / "panoptic_val.json").read_text())
    assert [each["image_id"] for each in content["annotations"]] == [1000, 999]
    assert {each["id"]: (each["name"], each["isthing"]) for each in content["categories"]} == {
        each["id"]: (each["name"], each["isthing"]) for each in truth["categories"]
    }
    for mine, theirs in zip(content["annotations"], truth["annotations"], strict=True):
        assert (mine["image_id"], mine["file_name"]) == (theirs["image_id"], theirs["file_name"])
        key = lambda each: each["id"]  # noqa: E731
        assert sorted(mine["segments_info"], key=key) == sorted(theirs["segments_info"], key=key)
        written = read_ids(tmp_path / "out" / name / mine["file_name"])
        assert (written == read_ids(scenes / "annotations" / "panoptic_val" / mine["file_name"])).all()


def test_maps():
    ids = np.array([[0, 7, 7], [0, 7, 70000], [9, 9, 70000]], np.int32)

    class Listed:
        def __init__(self, id, class_id):
            self.id, self.class_id = id, class_id

    assert class_map(ids, [Listed(7, 2), Listed(70000, 0)]).tolist() == [[255, 2, 2], [255, 2, 0], [255, 255, 0]]
    assert boxes_of(ids, [70000, 7, 9]).tolist() == [[2, 1, 3, 3], [1, 0, 3, 2], [0, 2, 2, 3]]
    assert boxes_of(ids, []).shape == (0, 4)
