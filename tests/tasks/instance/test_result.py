import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from srzoo.tasks.instance import pictures
from srzoo.tasks.instance.masks import PackedMasks
from srzoo.tasks.instance.result import Instances

SIZE = (80, 120)
PALETTE = ((255, 0, 0), (0, 0, 255))


def masks_of(*windows):
    """Filled rectangles, but for a hole in the first."""
    packed = PackedMasks(SIZE)
    for i, (x0, y0, x1, y1) in enumerate(windows):
        mask = np.ones((y1 - y0, x1 - x0), bool)
        if i == 0:
            mask[30:34, 5:15] = False
        packed.append((x0, y0, x1, y1), mask)
    return packed


@pytest.fixture
def result():
    masks = masks_of((10, 20, 60, 60), (40, 30, 110, 75), (0, 0, 0, 0))
    boxes = np.array([[10.25, 20, 60, 60], [40, 30, 110, 75.5], [0, 0, 3, 3]], np.float32)
    scores, labels = np.array([0.91, 0.8, 0.6], np.float32), np.array([1, 0, 1])
    return Instances(Image.new("RGB", (120, 80), (90, 90, 90)), boxes, scores, labels, masks, ("car", "shop"), PALETTE)


def test_packed_masks():
    rng = np.random.default_rng(0)
    packed, dense = PackedMasks(SIZE), np.zeros((9, *SIZE), bool)
    for mask in dense:
        y, x = rng.integers(0, 40), rng.integers(0, 60)
        h, w = rng.integers(0, 40), rng.integers(0, 60)
        mask[y : y + h, x : x + w] = rng.random((h, w)) < 0.5
        packed.append((x, y, x + w, y + h), mask[y : y + h, x : x + w])
    assert len(packed) == 9
    assert all((mask == wanted).all() and mask.dtype == bool for mask, wanted in zip(packed, dense, strict=True))
    assert packed.areas().tolist() == dense.sum((1, 2)).tolist()
    assert (packed[3] == dense[3]).all() and packed.within(3).shape == (
        packed.windows[3][3] - packed.windows[3][1],
        packed.windows[3][2] - packed.windows[3][0],
    )
    assert PackedMasks(SIZE).areas().shape == (0,)


def test_to_dict(result):
    assert result.to_dict() == {
        "width": 120,
        "height": 80,
        "objects": [
            {"class": "shop", "score": 0.91, "box": [10.25, 20.0, 60.0, 60.0]},
            {"class": "car", "score": 0.8, "box": [40.0, 30.0, 110.0, 75.5]},
            {"class": "shop", "score": 0.6, "box": [0.0, 0.0, 3.0, 3.0]},
        ],
    }
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


def test_to_coco_round_trip(result):
    """A hole stays a hole, ids are the dataset's."""
    entries = json.loads(json.dumps(result.to_coco(31, [90, 0])))
    assert [(e["image_id"], e["category_id"]) for e in entries] == [(31, 0), (31, 90), (31, 0)]
    assert entries[0]["bbox"] == [10.25, 20, 49.75, 40]
    for i, entry in enumerate(entries):
        assert (coco_mask.decode(entry["segmentation"]).astype(bool) == result.masks[i]).all()
    assert not coco_mask.decode(entries[0]["segmentation"])[52, 20]
    assert [e["category_id"] for e in result.to_coco()] == [2, 1, 2]
    for ids in ([1], [1, 2, 3]):
        for make in (result.to_coco, result.coco_annotations):
            with pytest.raises(ValueError, match=f"{len(ids)} category_ids .*2 classes"):
                make(category_ids=ids)


def test_ids_of_numpy_and_pytorch_are_written(result):
    """json takes neither, and tables of ids are often arrays."""
    for ids in (np.array([90, 0]), torch.tensor([90, 0])):
        entries = json.loads(json.dumps(result.to_coco(ids[0], ids)))
        assert [(e["image_id"], e["category_id"]) for e in entries] == [(90, 0), (90, 90), (90, 0)]
        drawn = json.loads(json.dumps(result.coco_annotations(ids[0], ids[0], ids)))
        assert [(e["id"], e["image_id"], e["category_id"]) for e in drawn] == [(90, 90, 0), (91, 90, 90)]


def test_some_of_the_masks(result):
    """As arrays have it; `Instances` is indexed alike."""
    for which in (result.scores > 0.7, [0, 1], slice(0, 2), torch.tensor([0, 1]), np.array([True, True, False])):
        some = result.masks[which]
        assert len(some) == 2 and some == result[which].masks and (some[1] == result.masks[1]).all()
    assert (result.masks[np.int64(-2)] == result.masks[1]).all()
    assert (np.asarray(result.masks[[2, 0]]) == np.stack([result.masks[2], result.masks[0]])).all()
    for which in (3, "shop", None, 0.5):
        with pytest.raises(IndexError):
            result.masks[which]
        with pytest.raises(IndexError):
            result[which]


def test_masks_by_class_and_by_number(result):
    assert (result.mask("shop") == (result.masks[0] | result.masks[2])).all()
    assert (result.mask(1) == result.masks[1]).all() and (result.mask("car") == result.masks[1]).all()
    with pytest.raises(ValueError, match="'shopp'.*'shop'"):
        result.mask("shopp")


def test_coco_annotations_have_polygons_and_scores(result):
    """The third object has no pixels, so it has no polygon."""
    first, second = result.coco_annotations(5)
    assert [each["score"] for each in (first, second)] == [0.91, 0.8] and first["category_id"] == 2
    assert second["bbox"] == [40, 30, 70, 45] and second["area"] == 70 * 45
    for i, each in enumerate((first, second)):
        drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(each["segmentation"], *SIZE)))
        assert (drawn.astype(bool) == result.masks[i]).all()
    assert repr(result) == "Instances(120x80: shop 2 (best 91%), car 1 (best 80%))"


def test_overlay(result):
    """The first object is above the second, the hole shows the image, and outlines stay at alpha 0."""
    half, lines, solid = (np.asarray(result.overlay(alpha)).astype(int) for alpha in (0.5, 0.0, 1.0))
    assert half[5, 100].tolist() == half[52, 20].tolist() == [90, 90, 90]
    assert half[70, 100][0] > half[70, 100][2] + 50  # red
    assert half[50, 50][2] > half[50, 50][0] + 50  # blue where both are
    assert lines[50, 50].tolist() == [90, 90, 90]
    assert (lines[20, 45] != 90).any()
    assert solid[70, 100].tolist() == [255, 103, 103]  # the colour of the class, a little lighter for the second object
    assert result.overlay().size == (120, 80)
    with pytest.raises(ValueError, match="alpha.*1.5"):
        result.overlay(1.5)


def test_names_do_not_cover_each_other():
    """A hundred windows: their names are written where there is room, and the picture keeps its size."""
    windows = [(12 * (i % 10), 8 * (i // 10), 12 * (i % 10) + 10, 8 * (i // 10) + 7) for i in range(100)]
    many = Instances(
        Image.new("RGB", (120, 80)),
        np.array(windows, np.float32),
        np.full(100, 0.9, np.float32),
        np.zeros(100, np.int64),
        masks_of(*windows),
        ("window",),
        PALETTE[:1],
    )
    assert many.overlay().size == (120, 80)
    assert many.found()[0].value == "100 (best 90%)"


def test_found(result):
    assert [(each.name, each.value, each.colour) for each in result.found()] == [
        ("shop", "2 (best 91%)", (38, 38, 255)),
        ("car", "1 (best 80%)", (255, 38, 38)),
    ]
    assert result.names == ["shop", "car", "shop"] and len(result) == 3


def test_save(result, tmp_path):
    paths = result.save(tmp_path / "a.b")
    assert [path.name for path in paths] == ["a.b_objects.json", "a.b_overlay.jpg"]
    content = json.loads(paths[0].read_text())
    assert (coco_mask.decode(content["objects"][1]["segmentation"]).astype(bool) == result.masks[1]).all()
    assert content["objects"][1]["class"] == "car"
    assert Image.open(paths[1]).size == (120, 80)
    assert result._repr_png_().startswith(b"\x89PNG")


def test_gray_is_for_labels(result, tmp_path):
    with pytest.raises(ValueError, match="gray is for the label images of semantic models"):
        result.save(tmp_path / "out" / "a", gray=True)
    assert not list(tmp_path.iterdir())


def test_no_objects(tmp_path):
    nothing = Instances(
        Image.new("RGB", (120, 80), (1, 2, 3)),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.int64),
        PackedMasks(SIZE),
        ("car",),
        PALETTE[:1],
    )
    assert nothing.to_coco() == nothing.found() == nothing.to_dict()["objects"] == []
    assert (np.asarray(nothing.overlay()) == [1, 2, 3]).all()
    assert len(nothing.save(tmp_path / "x")) == 2


def test_strips_do_not_show(result, monkeypatch):
    whole = np.asarray(result.overlay())
    monkeypatch.setattr(pictures, "_STRIP_PIXELS", 150)  # three rows of the first mask
    monkeypatch.setattr(pictures, "outline_width", lambda image: 4)
    strips = np.asarray(result.overlay())
    monkeypatch.setattr(pictures, "_STRIP_PIXELS", 1 << 20)
    assert (np.asarray(result.overlay()) == strips).all()
    assert (whole != strips).any()  # the outlines are wider


@pytest.mark.parametrize(
    ("which", "kept"),
    [
        (1, [1]),
        (-1, [2]),
        (np.int64(0), [0]),
        (slice(2), [0, 1]),
        ([2, 0], [2, 0]),
        ([], []),
        (np.array([True, False, True]), [0, 2]),
    ],
)
def test_some_of_the_objects(which, kept, result):
    result.georeference = "of the file"
    some = result[which]
    assert some.scores.tolist() == result.scores[kept].tolist() and some.boxes.tolist() == result.boxes[kept].tolist()
    assert some.labels.tolist() == result.labels[kept].tolist() and len(some) == len(some.masks) == len(kept)
    assert all((some.masks[i] == result.masks[j]).all() for i, j in enumerate(kept))
    assert (some.image, some.classes, some.georeference) == (result.image, result.classes, "of the file")
    assert len(some.to_coco()) == len(kept) and some.overlay().size == (120, 80)


def test_the_objects_one_by_one(result):
    assert [each.names for each in result] == [["shop"], ["car"], ["shop"]]


@pytest.mark.parametrize("which", [3, None, True, "car", [True], 0.5])
def test_objects_that_are_not_there(which, result):
    with pytest.raises(IndexError):
        result[which]
