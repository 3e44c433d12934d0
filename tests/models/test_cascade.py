"""The cascade against a literal transcription: a coder for each stage, scores averaged over the same regions."""

import math

import pytest
import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

from srzoo.models import cascade
from srzoo.models.cascade import STAGES, CascadeHeads

STRIDES = [4, 8, 16, 32]
SIZE = (128, 160)
WEIGHTS = [(10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15)]


@pytest.fixture
def build():
    """Heads whose boxes move by a good deal in every stage."""

    def heads(**options):
        torch.manual_seed(0)
        built = CascadeHeads(STRIDES, 8, 3, **{"box_channels": 16, "mask_layers": (8,), **options}).eval()
        for part in built.modules():
            if isinstance(part, FastRCNNPredictor):
                nn.init.normal_(part.cls_score.weight, std=1)
                nn.init.normal_(part.bbox_pred.weight, std=1)
        return built

    return heads


@pytest.fixture
def features():
    torch.manual_seed(1)
    return [torch.randn(1, 8, SIZE[0] // stride, SIZE[1] // stride) for stride in STRIDES]


@pytest.fixture
def proposals():
    torch.manual_seed(2)
    low = torch.rand(12, 2) * 80
    return [torch.cat([low, low + 10 + torch.rand(12, 2) * 60], 1)]


def decoded(deltas, boxes, weights):
    """Ren et al., 2015, Eq. 2, with the weights of a stage, for each box in turn."""
    result = []
    for (dx, dy, dw, dh), (x0, y0, x1, y1) in zip(deltas.tolist(), boxes.tolist()):
        width, height = x1 - x0, y1 - y0
        x, y = x0 + width / 2 + dx / weights[0] * width, y0 + height / 2 + dy / weights[1] * height
        limit = math.log(1000 / 16)
        width *= math.exp(min(dw / weights[2], limit))
        height *= math.exp(min(dh / weights[3], limit))
        corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        result.append([min(max(c, 0), SIZE[1 - i % 2]) for i, c in enumerate(corners)])
    return torch.tensor(result)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_stages_follow_the_definition(average, build, features, proposals):
    heads = build(average=average)
    seen = {}
    heads.select = lambda scores, boxes, size, score, count: seen.update(scores=scores, boxes=boxes)
    boxes, total = proposals[0], 0.0
    with torch.no_grad():
        heads.detect(features, proposals, [SIZE])
        for head, predictor, weights in zip(heads.box_head, heads.box_predictor, WEIGHTS, strict=True):
            logits, deltas = predictor(head(heads.box_roi_pool(features, [boxes])))
            total = total + (logits if average == "logits" else logits.softmax(1))
            boxes = decoded(deltas, boxes, weights)
    wanted = (total / 3).softmax(1) if average == "logits" else total / 3
    assert seen["scores"].shape == (12, 4)  # none of the regions was dropped on the way
    torch.testing.assert_close(seen["scores"], wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(seen["boxes"][:, 0], boxes, atol=1e-3, rtol=1e-4)
    assert (boxes - proposals[0]).abs().max() > 5


def test_each_stage_has_its_own_coder(build, features, proposals):
    """With one coder for all, the known bug, the boxes end elsewhere."""
    heads = build()
    with torch.no_grad():
        (found,) = heads.detect(features, proposals, [SIZE])
        heads.coders = [heads.coders[0]] * STAGES
        (shared,) = heads.detect(features, proposals, [SIZE])
    assert len(found["boxes"]) != len(shared["boxes"]) or (found["boxes"] - shared["boxes"]).abs().max() > 1
    assert [coder.weights for coder in build().coders] == WEIGHTS


def test_no_suppression_between_the_stages(build, features, proposals, monkeypatch):
    """Two identical proposals stay two until the end."""
    heads = build()
    counts = []
    stage = heads.stage
    monkeypatch.setattr(
        heads, "stage", lambda number, f, boxes: (counts.append(len(boxes[0])), stage(number, f, boxes))[1]
    )
    twice = [proposals[0][[0, 0, 1, 1, 1]]]
    with torch.no_grad():
        heads.detect(features, twice, [SIZE])
    assert counts == [5, 5, 5]


def test_stages_are_trained_at_their_overlaps(build, features, make_target, monkeypatch):
    """A proposal of overlap 0.55 is positive in the first stage alone, whose box loss has weight 1."""
    heads = build().train()
    target = make_target(SIZE, [(20, 20, 120, 120)], [1])
    target["boxes"] = target["boxes"] + 0.25  # so that no refined box can equal it
    proposal = torch.tensor([[20.25, 20.25, 120.25, 75.25]])
    seen = []
    losses = cascade.box_losses

    def noted(logits, deltas, labels, wanted, beta):
        seen.append((labels.tolist(), wanted))
        found = losses(logits, deltas, labels, wanted, beta)
        return {name: torch.ones_like(loss) for name, loss in found.items()}

    monkeypatch.setattr(cascade, "box_losses", noted)
    # So that the proposal is the same in every stage; the annotated box is added to it, and left out again.
    monkeypatch.setattr(heads, "refined", lambda number, deltas, boxes, sizes: boxes)
    total = heads.losses(features, [proposal], [target], [SIZE])
    assert [sorted(labels) for labels, _ in seen] == [[1, 1], [0, 1], [0, 1]]
    assert total["class"] == total["box"] == 1.75  # 1 + 0.5 + 0.25
    first, second = (wanted.abs().max().item() for _, wanted in seen[:2])
    assert second == pytest.approx(2 * first)  # the coder of the second stage has twice the weights


def test_annotated_boxes_are_not_refined(build, features, proposals, make_target, monkeypatch):
    heads = build().train()
    target = make_target(SIZE, [(20, 20, 120, 120), (1, 2, 30, 40)], [1, 2])
    given = []
    select = heads.select_training_samples
    monkeypatch.setattr(
        heads,
        "select_training_samples",
        lambda boxes, targets: (given.append(len(boxes[0])), select(boxes, targets))[1],
    )
    heads.losses(features, proposals, [target], [SIZE])
    assert given[0] == 12
    assert all(count <= 12 for count in given)  # with the annotated boxes of the stage before there would be 14, 16


def test_losses_are_finite_for_an_image_without_proposals(build, features, make_target):
    heads = build().train()
    losses = heads.losses(features, [torch.zeros(0, 4)], [make_target(SIZE, [])], [SIZE])
    assert all(loss == 0 for loss in losses.values())


@pytest.mark.parametrize("mask_stages", [1, 3])
def test_masks_are_averaged(mask_stages, build, features):
    heads = build(mask_stages=mask_stages)
    boxes = torch.tensor([[8.0, 8.0, 100.0, 90.0]])
    found = {"boxes": boxes, "labels": torch.tensor([2])}
    with torch.no_grad():
        heads.add_masks(features, [found])
        pooled = heads.mask_roi_pool(features, [boxes])
        parts = [p(h(pooled))[0, 2].sigmoid() for h, p in zip(heads.mask_head, heads.mask_predictor)]
    assert len(parts) == mask_stages
    torch.testing.assert_close(found["masks"][0], sum(parts) / mask_stages)


def test_scaled_gradient(build, features, proposals, make_target):
    target = make_target(SIZE, [(20, 20, 120, 120)], [1])
    norms = {}
    for scale in (False, True):
        heads = build(scale_gradient=scale, mask_stages=1).train()
        own = [feature.clone().requires_grad_() for feature in features]
        torch.manual_seed(0)
        losses = heads.losses(own, proposals, [target], [SIZE])
        (losses["class"] + losses["box"]).backward()
        norms[scale] = [torch.stack([feature.grad for feature in own[:1]]), heads.box_head[0].fc6.weight.grad]
    torch.testing.assert_close(3 * norms[True][0], norms[False][0])
    torch.testing.assert_close(norms[True][1], norms[False][1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_stages": 2}, "mask_stages.* 1 or 3, got 2"),
        ({"average": "boxes"}, "average.*'logits'.*'boxes'"),
        ({"scale_gradient": 3}, "scale_gradient"),
    ],
)
def test_invalid_options(options, message, build):
    with pytest.raises(ValueError, match=message):
        build(**options)
