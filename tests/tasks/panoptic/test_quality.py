"""Panoptic quality against torchmetrics, and against a literal transcription of its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.detection import PanopticQuality as TorchmetricsQuality

from srzoo.data.objects import Segment
from srzoo.data.opening import open_dataset
from srzoo.tasks.panoptic.quality import PanopticQuality

CLASSES = 4
STUFF = (2, 3)


def random_map(rng, size=(24, 30), void=False, crowds=False, like=None):
    """Ids and segments of random rectangles; with ``like``, another map whose rectangles are mostly near."""
    ids = np.zeros(size, np.int32) if like is None else like[0].copy()
    segments = {} if like is None else {each.id: each for each in like[1]}
    if like is None:
        for number in range(12):
            h, w = rng.integers(4, 14, 2)
            y, x = rng.integers(0, size[0] - 3), rng.integers(0, size[1] - 3)
            class_id = int(rng.integers(CLASSES))
            id = 1000 + class_id if class_id in STUFF else 70000 + number
            ids[y : y + h, x : x + w] = id
            segments[id] = Segment(id, class_id, bool(crowds and class_id not in STUFF and rng.random() < 0.25), 0)
        if not void:
            ids[ids == 0] = 1002
            segments[1002] = Segment(1002, 2, False, 0)
    else:
        ids = np.roll(ids, rng.integers(-2, 3, 2), (0, 1))
        for id in list(segments):
            if rng.random() < 0.3:  # a segment of another class, or with half of it gone
                segments[id] = segments[id]._replace(class_id=int(rng.integers(CLASSES)))
            elif rng.random() < 0.2:
                ids[(ids == id) & (np.arange(size[1]) % 2 == 0)] = 0
        segments = {id: each._replace(crowd=False) for id, each in segments.items()}
    present = set(np.unique(ids).tolist())
    return ids, [each._replace(area=int((ids == id).sum())) for id, each in segments.items() if id in present]


def counted(pairs):
    quality = PanopticQuality(CLASSES)
    for (ids, found), (annotated, segments) in pairs:
        quality.update(ids, {each.id: each.class_id for each in found}, annotated, segments)
    return quality


def literal(pairs):
    """panopticapi's ``pq_compute_single_core``, over sets of pixels instead of a table of pairs.

    One crowd for each class and image at most; the transcription keeps the last one, as the original does.
    """
    overlap = np.zeros(CLASSES)
    matched, wrong, missed = np.zeros((3, CLASSES), int)
    for (ids, found), (annotated, segments) in pairs:
        truth = {
            each.id: {"class": each.class_id, "crowd": each.crowd, "pixels": annotated == each.id} for each in segments
        }
        predicted = {each.id: {"class": each.class_id, "pixels": ids == each.id} for each in found}
        void = annotated == 0
        truth_matched, predicted_matched = set(), set()
        for truth_id, true in truth.items():
            for id, guess in predicted.items():
                if true["crowd"] or true["class"] != guess["class"]:
                    continue
                both = (true["pixels"] & guess["pixels"]).sum()
                union = true["pixels"].sum() + guess["pixels"].sum() - both - (void & guess["pixels"]).sum()
                if both > 0 and both / union > 0.5:
                    matched[true["class"]] += 1
                    overlap[true["class"]] += both / union
                    truth_matched.add(truth_id)
                    predicted_matched.add(id)
        crowd_of = {}
        for truth_id, true in truth.items():
            if truth_id in truth_matched:
                continue
            if true["crowd"]:
                crowd_of[true["class"]] = true["pixels"]
                continue
            missed[true["class"]] += 1
        for id, guess in predicted.items():
            if id in predicted_matched:
                continue
            ignored = (void & guess["pixels"]).sum()
            if guess["class"] in crowd_of:
                ignored += (crowd_of[guess["class"]] & guess["pixels"]).sum()
            if ignored / guess["pixels"].sum() > 0.5:
                continue
            wrong[guess["class"]] += 1
    return overlap, matched, wrong, missed


def merged_crowds(ids, segments):
    """The map with one crowd for each class."""
    first = {}
    for each in segments:
        if each.crowd:
            ids[ids == each.id] = first.setdefault(each.class_id, each.id)
    return ids, [each for each in segments if not each.crowd or first[each.class_id] == each.id]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), void=st.booleans(), crowds=st.booleans())
def test_equals_the_definition(seed, void, crowds):
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(2):
        truth = merged_crowds(*random_map(rng, void=void, crowds=crowds))
        pairs.append((random_map(rng, like=truth), truth))
    quality = counted(pairs)
    overlap, matched, wrong, missed = literal(pairs)
    assert (quality.matched == matched).all()
    assert (quality.wrong == wrong).all()
    assert (quality.missed == missed).all()
    np.testing.assert_allclose(quality.overlap, overlap)


def test_the_random_maps_have_all_cases():
    rng = np.random.default_rng(0)
    truths = [merged_crowds(*random_map(rng, void=True, crowds=True)) for _ in range(20)]
    quality = counted([(random_map(rng, like=truth), truth) for truth in truths])
    assert min(quality.matched.min(), quality.wrong.min(), quality.missed.min()) > 0
    assert any(each.crowd for _, segments in truths for each in segments)


def test_equals_torchmetrics_without_crowds():
    """torchmetrics has no crowds, and unlike the definition leaves out of a union what is void in the prediction."""
    rng = np.random.default_rng(5)
    pairs = []
    for _ in range(12):
        truth = random_map(rng)
        ids, segments = random_map(rng, like=truth)
        ids[ids == 0] = 7
        pairs.append(((ids, [*segments, Segment(7, 1, False, 0)]), truth))
    # All as things: it would join two segments of a kind of stuff.
    theirs = TorchmetricsQuality(
        things=set(range(CLASSES)),
        stuffs={50},
        allow_unknown_preds_category=True,
        return_per_class=True,
        return_sq_and_rq=True,
    )
    for pair in pairs:
        coded = []
        for ids, segments in pair:
            table = {each.id: (each.class_id, each.id) for each in segments}
            coded.append(torch.from_numpy(np.array([[table[id] for id in row] for row in ids.tolist()])))
        prediction, truth = (each[None] for each in coded)
        theirs.update(prediction, truth)
    wanted = theirs.compute().numpy()[:CLASSES]
    quality, segmentation, recognition = counted(pairs).by_class()
    found = np.stack([quality, segmentation, recognition], 1)
    assert 0.05 < quality.min() < quality.max() < 0.95
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def simple(prediction, truth, crowd=False, classes=(0, 0)):
    """One row of pixels with the segment 1 in both."""
    quality = PanopticQuality(CLASSES)
    ids, annotated = np.array([prediction]), np.array([truth])
    found = {int(id): classes[0] for id in np.unique(ids) if id}
    segments = [Segment(int(id), classes[1], crowd, 0) for id in np.unique(annotated) if id]
    quality.update(ids, found, annotated, segments)
    return int(quality.matched.sum()), int(quality.wrong.sum()), int(quality.missed.sum()), float(quality.overlap.sum())


@pytest.mark.parametrize(
    ("prediction", "truth", "options", "counts"),
    [
        ([1, 1, 1, 0], [1, 1, 1, 1], {}, (1, 0, 0, 0.75)),
        ([1, 1, 0, 0], [1, 1, 1, 1], {}, (0, 1, 1, 0)),  # one half is no match
        ([1, 1, 1, 1], [0, 0, 1, 1], {}, (1, 0, 0, 1.0)),  # void does not count against it
        ([0, 1, 1, 1], [1, 1, 1, 1], {"crowd": True}, (0, 0, 0, 0)),
        ([1, 1, 1, 1], [1, 1, 0, 0], {"crowd": True}, (0, 0, 0, 0)),
        ([1, 1, 1, 1], [1, 1, 1, 1], {"crowd": True, "classes": (1, 0)}, (0, 1, 0, 0)),  # crowd of another class
        ([1, 1, 1, 1], [1, 1, 1, 1], {"classes": (1, 0)}, (0, 1, 1, 0)),
        ([1, 1, 1, 0], [0, 0, 2, 2], {}, (0, 0, 1, 0)),  # two thirds in void are no false positive
        ([1, 1, 0, 0], [0, 2, 2, 2], {}, (0, 1, 1, 0)),  # one half is
    ],
)
def test_rules(prediction, truth, options, counts):
    assert simple(prediction, truth, **options) == counts


def test_several_crowds_of_a_class_are_ignored_together():
    quality = PanopticQuality(1)
    segments = [Segment(7, 0, True, 2), Segment(8, 0, True, 2)]
    quality.update(
        np.array([[1, 1, 1, 1, 1]]), {1: 0}, np.array([[7, 7, 8, 8, 9]]), [*segments, Segment(9, 0, False, 1)]
    )
    assert (quality.wrong[0], quality.missed[0]) == (0, 1)


def test_means_and_nan():
    quality = counted([])
    assert all(np.isnan(values).all() for values in quality.by_class())
    quality.missed[1] = 3
    pq, sq, rq = quality.by_class()
    assert pq[1] == sq[1] == rq[1] == 0 and np.isnan(pq[0])


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "3x2.* 2x3"),
        (np.full((2, 2), 5), np.zeros((2, 2), int), "predicted segment 5"),
        (np.zeros((2, 2), int), np.full((2, 2), 6), "annotated segment 6"),
    ],
)
def test_maps_that_do_not_fit(prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        PanopticQuality(2).update(prediction, {}, truth, [])


def test_merged_counts_are_those_of_all_images():
    rng = np.random.default_rng(3)
    pairs = [(random_map(rng, like=truth), truth) for truth in (random_map(rng) for _ in range(4))]
    whole, part = counted(pairs), counted(pairs[:1])
    part.merge(counted(pairs[1:]))
    assert (part.matched == whole.matched).all() and (part.wrong == whole.wrong).all()
    np.testing.assert_allclose(part.overlap, whole.overlap)


def test_truth_against_itself_on_real_photographs(facade):
    data = open_dataset(facade, "val", task="panoptic")
    quality = PanopticQuality(len(data.labels.classes))
    for index in range(20):
        ids, segments = data.segments(index)
        quality.update(ids, {each.id: each.class_id for each in segments}, ids, segments)
    pq, _, _ = quality.by_class()
    assert (pq[~np.isnan(pq)] == 1).all() and (~np.isnan(pq)).sum() >= 8
    assert not quality.wrong.any() and not quality.missed.any() and quality.matched.sum() > 200
