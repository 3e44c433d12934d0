import pytest
import torch
from torch.nn import functional as F

from srzoo.models import region_heads
from srzoo.models.cascade import CascadeHeads
from srzoo.models.region_heads import RegionHeads, box_losses, mask_loss

STRIDES = [4, 8, 16, 32]
SIZE = (128, 160)


@pytest.fixture
def heads():
    torch.manual_seed(0)
    return RegionHeads(STRIDES, 8, 3, box_channels=16, mask_layers=(8,)).eval()


@pytest.fixture
def features():
    torch.manual_seed(1)
    return [torch.randn(1, 8, SIZE[0] // stride, SIZE[1] // stride) for stride in STRIDES]


def test_selection_of_detections(heads):
    """Below the threshold, of the background, overlapping in one class, overlapping in two, and out of the image."""
    boxes = torch.tensor(
        [[10, 10, 50, 50], [11, 10, 51, 50], [12, 10, 52, 50], [100, 20, 200, 60], [0, 0, 0.005, 9], [60, 60, 90, 90]]
    )
    scores = torch.tensor(
        [
            [0.1, 0.9, 0.0, 0.0],
            [0.2, 0.8, 0.0, 0.0],
            [0.3, 0.0, 0.7, 0.0],
            [0.4, 0.0, 0.0, 0.6],
            [0.0, 1.0, 0.0, 0.0],
            [0.95, 0.02, 0.02, 0.01],
        ]
    )
    found = heads.select(scores, boxes[:, None], SIZE)
    assert found["labels"].tolist() == [1, 2, 3]
    torch.testing.assert_close(found["scores"], torch.tensor([0.9, 0.7, 0.6]))
    assert found["boxes"].tolist() == [[10, 10, 50, 50], [12, 10, 52, 50], [100, 20, 160, 60]]
    heads.detections_per_img = 1
    assert heads.select(scores, boxes[:, None], SIZE)["labels"].tolist() == [1]


def test_boxes_of_each_class(heads):
    boxes = torch.arange(4.0)[:, None].expand(4, 4)[None] + torch.tensor([0.0, 0, 20, 20])
    found = heads.select(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), boxes, SIZE)
    assert found["labels"].tolist() == [3, 2, 1]
    assert found["boxes"][:, 0].tolist() == [3, 2, 1]


def test_no_detection_is_not_an_error(heads, features):
    (found,) = heads(features, [torch.zeros(0, 4)], [SIZE])
    assert {key: tuple(value.shape) for key, value in found.items()} == {
        "boxes": (0, 4),
        "scores": (0,),
        "labels": (0,),
        "masks": (0, 28, 28),
    }


def test_masks_are_those_of_the_class(heads, features):
    boxes = torch.tensor([[8.0, 8.0, 100.0, 90.0], [20.0, 30.0, 60.0, 70.0]])
    found = {"boxes": boxes, "labels": torch.tensor([3, 1])}
    with torch.no_grad():
        heads.add_masks(features, [found])
        pooled = heads.mask_roi_pool(features, [boxes])
        every = heads.mask_predictor(heads.mask_head(pooled)).sigmoid()
    assert torch.equal(found["masks"], torch.stack([every[0, 3], every[1, 1]]))
    assert not torch.allclose(every[0, 3], every[0, 1])


@pytest.mark.parametrize("kind", [RegionHeads, CascadeHeads])
def test_regions_in_parts_are_the_same_detections(kind, features, monkeypatch):
    """Of three images, one of which has no region: parts that end within an image, at its end, and over two images."""
    torch.manual_seed(0)
    heads = kind(STRIDES, 8, 3, box_channels=16, mask_layers=(8,)).eval()
    features = [torch.cat([level, level.flip(2), level.flip(3)]) for level in features]
    low = torch.rand(17, 2) * 80
    boxes = torch.cat([low, low + 10 + torch.rand(17, 2) * 60], 1)
    proposals = [boxes[:8], boxes[:0], boxes[8:]]
    rows = []
    heads.box_roi_pool.register_forward_hook(lambda part, given, pooled: rows.append(len(pooled)))
    heads.mask_roi_pool.register_forward_hook(lambda part, given, pooled: rows.append(len(pooled)))
    with torch.no_grad():
        wanted = heads(features, proposals, [SIZE] * 3, score=0.2)
        largest, rows[:] = max(rows), []
        monkeypatch.setattr(region_heads, "_PART", 4)
        monkeypatch.setattr(region_heads, "_MASK_PART", 3)
        found = heads(features, proposals, [SIZE] * 3, score=0.2)
    assert largest >= 17 and max(rows) == 4
    assert [len(each["labels"]) > 3 for each in wanted] == [True, False, True]
    for one, other in zip(found, wanted, strict=True):
        for key in ("boxes", "scores", "labels", "masks"):
            torch.testing.assert_close(one[key], other[key])


@pytest.mark.parametrize("beta", [1 / 9, 1.0])
@pytest.mark.parametrize("agnostic", [False, True])
def test_box_losses_by_hand(beta, agnostic):
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4), torch.tensor([0, 2, 0, 3, 1])
    deltas, wanted = torch.randn(5, 4 if agnostic else 16), torch.randn(5, 4)
    losses = box_losses(logits, deltas, labels, wanted, beta)
    total = 0.0
    for i, label in enumerate(labels.tolist()):
        own = deltas[i] if agnostic else deltas[i, 4 * label : 4 * label + 4]
        for gap in (own - wanted[i]).abs().tolist() if label else ():
            total += 0.5 * gap**2 / beta if gap < beta else gap - beta / 2
    assert losses["box"].item() == pytest.approx(total / 5, rel=1e-5)
    assert losses["class"].item() == pytest.approx(F.cross_entropy(logits, labels).item())


def test_losses_without_regions():
    logits, deltas = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, 16, requires_grad=True)
    losses = box_losses(logits, deltas, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), 1.0)
    assert losses["class"] == losses["box"] == 0


def test_mask_loss_reads_the_own_class_and_the_own_object(make_target):
    """Logits that are right for the class of each region alone, so another object costs ten times as much."""
    target = make_target((40, 40), [(0, 0, 20, 20), (20, 20, 40, 40)], [1, 2])
    boxes, matched = torch.tensor([[0.0, 0.0, 40.0, 40.0]] * 2), torch.tensor([1, 0])
    logits = torch.full((2, 4, 28, 28), 9.0)
    for i, (channel, where) in enumerate(((2, slice(14, 28)), (1, slice(0, 14)))):
        logits[i, channel] = -9
        logits[i, channel, where, where] = 9
    right = mask_loss(logits, [boxes], [matched], [target], aligned=True)
    swapped = mask_loss(logits, [boxes], [matched.flip(0)], [target], aligned=True)
    assert right < 0.2
    assert swapped > 2


def test_mask_loss_without_regions_is_in_the_graph(make_target):
    logits = torch.zeros(0, 4, 28, 28, requires_grad=True)
    loss = mask_loss(logits, [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)], [make_target((9, 9), [])], False)
    assert loss == 0
    loss.backward()


def test_first_losses_are_small(heads, features, make_target):
    """The outputs start near zero: the cross-entropy is that of four equal classes, of masks that of two."""
    target = make_target(SIZE, [(10, 20, 90, 100)], [1])
    torch.manual_seed(0)
    losses = heads.train()(
        features, [torch.tensor([[12.0, 20.0, 90.0, 99.0], [99.0, 3.0, 150.0, 80.0]])], [SIZE], [target]
    )
    assert losses["class"].item() == pytest.approx(torch.tensor(4.0).log().item(), abs=0.1)
    assert losses["mask"].item() == pytest.approx(torch.tensor(2.0).log().item(), abs=0.05)
