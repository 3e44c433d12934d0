"""The meter against pycocotools, run on the annotation file and on the results JSON that is written."""

import contextlib
import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from srzoo.data.objects import InstanceSample
from srzoo.data.opening import open_dataset
from srzoo.data.rle import encode
from srzoo.tasks.instance.masks import PackedMasks
from srzoo.tasks.instance.meter import InstanceMeter
from srzoo.tasks.instance.result import Instances
from srzoo.tasks.instance.results_file import ResultsFile

IDS = (0, 7, 90)  # of the categories, which the file has in another order
NAMES = ("a", "b", "c")
SIZE = (120, 160)
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def blobs(rng, count):
    """Ellipses of three ranges of areas."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = []
    for _ in range(count):
        cy, cx, ry, rx = rng.uniform(10, 110), rng.uniform(10, 150), rng.uniform(4, 60), rng.uniform(4, 60)
        masks.append(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1)
    return np.array(masks).reshape(-1, *SIZE)


def box_of(mask):
    ys, xs = np.nonzero(mask)
    return [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]


def result_of(masks, labels, scores):
    packed = PackedMasks(SIZE)
    for mask in masks:
        packed.append((0, 0, SIZE[1], SIZE[0]), mask)
    boxes = np.array([box_of(mask) for mask in masks], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    image = Image.new("RGB", SIZE[::-1])
    return Instances(image, boxes, np.array(scores, np.float32), np.array(labels, np.int64), packed, NAMES, PALETTE)


@pytest.fixture
def scored(tmp_path):
    """Six images, one without objects, with crowds; predictions that are shifted, wrong, doubled or missing."""
    rng = np.random.default_rng(0)
    images, annotations, results = [], [], []
    (tmp_path / "val").mkdir()
    (tmp_path / "annotations").mkdir()
    for i in range(6):
        masks = blobs(rng, 0 if i == 3 else 6)
        labels = rng.integers(0, 3, len(masks))
        images.append({"id": 17 * i, "file_name": f"{i}.png", "width": SIZE[1], "height": SIZE[0]})
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "val" / f"{i}.png")
        for j, (mask, label) in enumerate(zip(masks, labels.tolist())):
            rle = encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 17 * i,
                    "category_id": IDS[label],
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "bbox": box_of(mask),
                    "area": int(mask.sum()),
                    "iscrowd": int(j == 5 and i % 2),
                }
            )
        found, of = [], []
        for mask, label in zip(masks, labels.tolist()):
            for _ in range(rng.integers(0, 3)):
                moved = np.roll(mask, rng.integers(-6, 7, 2), (0, 1))
                found.append(moved if moved.any() else mask)
                of.append(label if rng.random() < 0.8 else (label + 1) % 3)
        extra = blobs(rng, 2)
        found, of = [*found, *extra], [*of, *rng.integers(0, 3, 2).tolist()]
        scores = np.sort(rng.uniform(0.05, 1, len(found)))[::-1]
        results.append(result_of(found, of, scores))
    categories = [{"id": IDS[i], "name": NAMES[i]} for i in (2, 0, 1)]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(content))
    return tmp_path, open_dataset(tmp_path, "val", task="instance"), results


@pytest.mark.parametrize(("name", "kind"), [("mask", "segm"), ("box", "bbox")])
def test_figures_are_pycocotools_on_the_written_file(scored, name, kind):
    root, data, results = scored
    meter, export = InstanceMeter(data.labels.classes), ResultsFile(root / "out.json", data)
    for i in (4, 0, 1, 5, 3, 2):
        meter.update(results[i], data[i])
        export.add(results[i], i, "")
    export.finish()
    written = json.loads((root / "out.json").read_text())
    if kind == "segm":  # as detectron2 and mmdetection: else the boxes' areas decide what is small
        written = [{name: value for name, value in each.items() if name != "bbox"} for each in written]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / "annotations" / "instances_val.json"))
        evaluation = COCOeval(truth, truth.loadRes(written), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    score = meter.score()
    wanted = dict(zip(("", "50", "75", " small", " medium", " large"), evaluation.stats.tolist()))
    assert 0.05 < wanted[""] < wanted["50"] < 0.95
    for what, value in wanted.items():
        if value >= 0:
            assert score.figures[f"{name} AP{what}"] == pytest.approx(value, abs=1e-12), what
    precision = evaluation.eval["precision"]  # over categories in order of their ids
    for place, label in enumerate(NAMES):
        assert score.by_class[f"{name} AP"][label] == pytest.approx(precision[:, :, place, 0, -1].mean(), abs=1e-12)
        assert score.by_class[f"{name} AP50"][label] == pytest.approx(precision[0, :, place, 0, -1].mean(), abs=1e-12)
    assert (score.headline, score.value) == ("mask AP", score.figures["mask AP"])
    assert score.facts == {
        "objects": sum(not each["iscrowd"] for each in truth.dataset["annotations"]),
        "detections": sum(map(len, results)),
    }


def test_two_meters_are_one(scored):
    _, data, results = scored
    whole, first, second = (InstanceMeter(NAMES) for _ in range(3))
    for i, result in enumerate(results):
        whole.update(result, data[i])
        (first if i % 2 else second).update(result, data[i])
    first.merge(pickle.loads(pickle.dumps(second)))
    wanted, found = whole.score(), first.score()
    assert found.figures == pytest.approx(wanted.figures, abs=1e-12)
    assert found.facts == wanted.facts


def test_brief_has_the_headline_alone(scored):
    _, data, results = scored
    whole, brief = InstanceMeter(NAMES), InstanceMeter(NAMES, brief=True)
    for i, result in enumerate(results):
        whole.update(result, data[i])
        assert brief.update(result, data[i]) is None
    assert brief.score().value == whole.score().value
    assert not any(name.startswith("box") for name in brief.score().figures)


def test_truth_has_100_percent(scored):
    _, data, _ = scored
    meter = InstanceMeter(NAMES)
    for i in range(len(data)):
        objects = data[i].objects
        singles = np.flatnonzero(~objects.crowd)
        own = meter.update(
            result_of(objects.decode(singles).astype(bool), objects.classes[singles], np.full(len(singles), 0.9)),
            data[i],
        )
        assert own == (pytest.approx(1) if len(singles) else None)
    assert meter.score().figures["mask AP"] == pytest.approx(1)
    assert meter.score().figures["box AP"] == pytest.approx(1)


def test_crowds_are_neither_found_nor_missed(objects_of):
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 10:30, 10:30] = masks[1, 50:110, 50:150] = True
    sample = InstanceSample(np.zeros((*SIZE, 3), np.uint8), objects_of(masks, [0, 0], [False, True]))
    in_crowd = np.zeros(SIZE, bool)
    in_crowd[60:80, 60:90] = True
    for extra in ([], [in_crowd], [in_crowd] * 3):
        found = result_of([*extra, masks[0]], [0] * (len(extra) + 1), [0.9] * len(extra) + [0.5])
        assert InstanceMeter(NAMES).update(found, sample) == pytest.approx(1)
    outside = np.zeros(SIZE, bool)
    outside[90:118, 5:30] = True
    assert InstanceMeter(NAMES).update(result_of([outside, masks[0]], [0, 0], [0.9, 0.5]), sample) < 0.6


def test_nothing_annotated_and_nothing_found(objects_of):
    image = np.zeros((*SIZE, 3), np.uint8)
    masks = np.zeros((1, *SIZE), bool)
    masks[0, 3:9, 4:20] = True
    empty = InstanceSample(image, objects_of(masks[:0]))
    meter = InstanceMeter(NAMES)
    assert meter.update(result_of(masks, [0], [0.9]), empty) is None
    assert meter.score() is None
    assert meter.update(result_of(masks[:0], [], []), InstanceSample(image, objects_of(masks, [1]))) == 0
    score = meter.score()
    assert score.value == 0
    assert score.by_class["mask AP"] == {"a": None, "b": 0.0, "c": None}  # those that do not occur
    nothing = InstanceMeter(NAMES)
    nothing.update(result_of(masks[:0], [], []), InstanceSample(image, objects_of(masks, [1])))
    assert nothing.score().by_class == score.by_class
    assert "mask AP large" not in nothing.score().figures
