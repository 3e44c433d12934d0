import pickle

import numpy as np
import pytest
from PIL import Image

from srzoo.data.objects import PanopticSample, Segment
from srzoo.data.opening import open_dataset
from srzoo.labels import LabelSet
from srzoo.tasks.panoptic.meter import PanopticMeter
from srzoo.tasks.panoptic.result import FoundSegment, Panoptic

LABELS = LabelSet(("car", "wall", "sky"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)), (True, False, False))


def result_of(ids, classes, labels=LABELS):
    segments = [FoundSegment(id, classes[id], int((ids == id).sum()), None) for id in np.unique(ids).tolist() if id]
    return Panoptic(Image.new("RGB", ids.shape[::-1]), ids, segments, labels)


def sample_of(ids, segments):
    return PanopticSample(np.zeros((*ids.shape, 3), np.uint8), ids, segments)


@pytest.fixture
def truth():
    ids = np.full((20, 20), 1)
    ids[:10] = 2
    ids[12:18, 2:8] = 3
    ids[12:18, 12:18] = 4
    return sample_of(
        ids, [Segment(1, 1, False, 1), Segment(2, 2, False, 1), Segment(3, 0, False, 1), Segment(4, 0, False, 1)]
    )


def test_figures(truth):
    """A car is missed and a wall is not quite right, the sky is."""
    ids = np.where(truth.ids == 4, 1, truth.ids)
    meter = PanopticMeter(LABELS)
    own = meter.update(result_of(ids, {1: 1, 2: 2, 3: 0}), truth)
    score = meter.score()
    wall = 128 / 164
    assert score.by_class["PQ"] == {"car": pytest.approx(2 / 3), "wall": pytest.approx(wall), "sky": 1}
    assert score.by_class["SQ"]["car"] == 1 and score.by_class["RQ"]["wall"] == 1
    assert score.figures["PQ"] == score.value == own == pytest.approx((2 / 3 + wall + 1) / 3)
    assert score.figures["PQ things"] == pytest.approx(2 / 3)
    assert score.figures["SQ stuff"] == pytest.approx((wall + 1) / 2)
    assert score.figures["RQ stuff"] == 1
    assert score.facts == {"matched": 3, "wrong": 0, "missed": 1}
    assert score.headline == "PQ"


def test_two_meters_are_one(truth):
    whole, first, second = (PanopticMeter(LABELS) for _ in range(3))
    good, bad = result_of(truth.ids, {1: 1, 2: 2, 3: 0, 4: 0}), result_of(np.ones((20, 20), int), {1: 1})
    for result, part in ((good, first), (bad, second)):
        whole.update(result, truth)
        part.update(result, truth)
    first.merge(pickle.loads(pickle.dumps(second)))
    assert first.score() == whole.score()
    assert whole.score().value < 1


def test_nothing_annotated(truth):
    meter = PanopticMeter(LABELS)
    void = sample_of(np.zeros((20, 20), int), [])
    assert meter.update(result_of(truth.ids, {1: 1, 2: 2, 3: 0, 4: 0}), void) is None
    assert meter.score() is None
    crowd = sample_of(np.ones((20, 20), int), [Segment(1, 0, True, 400)])
    assert meter.update(result_of(np.zeros((20, 20), int), {}), crowd) is None


def test_classes_that_do_not_occur_are_none(truth):
    meter = PanopticMeter(LABELS)
    only = sample_of(np.ones((20, 20), int), [Segment(1, 1, False, 400)])
    assert meter.update(result_of(np.ones((20, 20), int), {1: 1}), only) == 1
    score = meter.score()
    assert score.by_class["PQ"] == {"car": None, "wall": 1, "sky": None}
    assert "PQ things" not in score.figures and score.figures["PQ"] == 1


def test_prediction_that_is_the_truth_has_100_percent(scenes):
    data = open_dataset(scenes, "train", task="panoptic")
    meter = PanopticMeter(data.labels)
    for sample in (data[i] for i in range(len(data))):
        result = result_of(sample.ids, {each.id: each.class_id for each in sample.segments}, data.labels)
        assert meter.update(result, sample) == 1
    assert set(meter.score().figures.values()) == {1}
