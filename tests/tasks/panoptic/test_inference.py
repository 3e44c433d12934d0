import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import srzoo
from srzoo.tasks.panoptic import inference
from srzoo.tasks.panoptic.inference import segments, semantic_labels
from srzoo.tasks.panoptic.view import View


def picture(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(150, 100), (97, 211), (320, 240)])
def test_every_pixel_belongs_to_a_listed_segment(detector, size):
    result = srzoo.Segmenter(detector("panoptic_fpn"), "cpu", score=0.3, stuff_area=50)(picture(*size))
    assert result.ids.shape == size[::-1] and result.ids.dtype == np.int32
    values, areas = np.unique(result.ids, return_counts=True)
    listed = {each.id: each.area for each in result.segments}
    assert {v: a for v, a in zip(values.tolist(), areas.tolist()) if v} == listed
    assert sorted(listed) == list(range(1, 1 + len(listed)))
    scores = [each.score for each in result.segments]
    objects = [score for score in scores if score is not None]
    assert scores == objects + [None] * (len(scores) - len(objects))
    assert objects == sorted(objects, reverse=True) and len(objects) > 0
    things = [result.labels.things[each.class_id] for each in result.segments]
    assert things == [score is not None for score in scores]


@pytest.mark.parametrize("size", [(150, 100), (97, 211)])
def test_semantic_labels_are_of_the_content_alone(detector, size):
    """Logits that say where they are: the map is that of the image, without the padding of the network's input."""
    model = detector("panoptic_fpn")
    transform = model.config.transform
    height, width = transform.input_size(size[1], size[0])
    assert (height, width) != transform.content_size(size[1], size[0])
    torch.manual_seed(0)
    logits = F.interpolate(torch.randn(1, 3, 5, 5), size=(height // 4, width // 4), mode="bilinear")[0]
    found = semantic_labels(model, logits, size[::-1])
    assert found.shape == size[::-1]
    full = F.interpolate(logits[None], size=(height, width), mode="bilinear")
    content = full[:, :, : transform.content_size(*size[::-1])[0], : transform.content_size(*size[::-1])[1]]
    wanted = F.interpolate(content, size=size[::-1], mode="bilinear")[0].argmax(0)
    assert (found == wanted).float().mean() > 0.97


def fixed(model, monkeypatch, boxes, labels, scores, stuff):
    """Let the network find these full boxes, and one kind of surface everywhere."""

    def detect(model, image, score, detections):
        semantic = torch.full((1 + len(model.stuff_ids), 24, 24), -9.0)
        semantic[stuff] = 9
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(scores, dtype=torch.float32),
            "masks": torch.ones(len(boxes), 28, 28),
            "semantic": semantic,
        }

    monkeypatch.setattr(inference, "detect", detect)


def test_merge(detector, monkeypatch):
    """Objects by score, one that is mostly covered is dropped, then the surface around them."""
    model = detector("panoptic_fpn", aligned=True)  # classes green, wall, floor, red; stuff are 1 and 2
    boxes = [(10, 10, 50, 50), (15, 15, 55, 45), (40, 40, 80, 80)]
    fixed(model, monkeypatch, boxes, [3, 0, 0], [0.9, 0.8, 0.7], 2)
    result = segments(model, picture(96, 96), View(stuff_area=100))
    assert [(each.class_id, each.score and round(each.score, 1)) for each in result.segments] == [
        (3, 0.9),
        (0, 0.7),
        (2, None),
    ]
    assert (result.ids[10:50, 10:50] == 1).all()
    assert (result.ids[50:80, 40:80] == 2).all() and (result.ids[40:50, 50:80] == 2).all()
    assert result.ids[0, 0] == 3 and (result.ids > 0).all()
    kept = segments(model, picture(96, 96), View(stuff_area=100, overlap=1.0))
    assert len(kept.segments) == 4
    void = segments(model, picture(96, 96), View(stuff_area=9000))
    assert [each.class_id for each in void.segments] == [3, 0] and void.ids[0, 0] == 0


@pytest.mark.parametrize("held", [1, 700, 3000])
def test_merge_of_few_masks_at_a_time(monkeypatch, held):
    """A bound on the pixels held changes nothing, dropped and empty instances included."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.ones(37, 53, dtype=torch.uint8)
    labels[:, 50:] = 2
    labels[::3] = 3
    is_stuff = torch.tensor([False, True, True, False])
    parts = []
    for i in range(23):
        x0, y0 = (int(torch.randint(0, side, (), generator=draw)) for side in (40, 30))
        window = x0, y0, min(x0 + 2 * i + 1, 53), min(y0 + i + 1, 37)
        mask = torch.rand((window[3] - window[1]) * (window[2] - window[0]), generator=draw) < (i % 5) / 4
        parts.append((mask.to(torch.uint8), torch.tensor([window])))
    whole = inference.merged(iter(parts), labels, is_stuff, 0.5, 120)
    monkeypatch.setattr(inference, "_HELD", held)
    bounded = inference.merged(iter(parts), labels, is_stuff, 0.5, 120)
    torch.testing.assert_close(bounded, whole, rtol=0, atol=0)
    assert (whole[1][:23] == 0).sum() > 3 and (whole[1][23:] > 0).sum() == 1


def test_things_of_the_semantic_head_are_void(detector, monkeypatch):
    model = detector("panoptic_fpn")
    fixed(model, monkeypatch, [], [], [], 0)
    result = segments(model, picture(96, 96), View())
    assert not result.ids.any() and result.segments == []
    assert result.overlay().size == (96, 96) and result.found() == []
