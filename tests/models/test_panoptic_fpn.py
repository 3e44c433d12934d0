import re

import pytest
import torch
from torch.nn import functional as F

import srzoo
from srzoo.labels import LabelSet
from srzoo.models.panoptic_fpn import SemanticHead

# Three classes: a thing between two kinds of stuff, so that an order by mistake shows.
THINGS = (False, True, False)


@pytest.fixture
def model(tiny):
    return tiny("panoptic_fpn", 3, things=THINGS)


def test_semantic_target_has_things_first(model, make_target):
    """The golden sample: 0 is all things, then the stuff in order of class id, and 255 void and padding."""
    ids = torch.tensor([[0, 1, 2], [255, 1, 0]], dtype=torch.uint8)
    target = make_target((2, 3), [], semantic=ids)
    found = model.semantic_target([target], [(2, 3)], (3, 5))
    assert found.tolist() == [[[1, 0, 2, 255, 255], [255, 0, 1, 255, 255], [255] * 5]]
    assert (model.thing_ids, model.stuff_ids) == ((1,), (0, 2))
    assert model.semantic_head.classifier.out_channels == 3
    assert model.roi_heads.box_predictor.cls_score.out_features == 2  # background and the thing


def test_semantic_loss_is_at_full_resolution(model, make_target, monkeypatch):
    """A target that the upsampled logits match costs nothing, one whose order is wrong costs much."""
    size = (64, 64)
    logits = torch.full((1, 3, 16, 16), -20.0)
    logits[0, 1, :, :8] = logits[0, 2, :, 8:] = 20
    monkeypatch.setattr(model.semantic_head, "forward", lambda levels: logits)
    model.train()
    losses = {}
    for name, (left, right) in {"right": (0, 2), "swapped": (2, 0), "void": (255, 255)}.items():
        ids = torch.full(size, left, dtype=torch.uint8)
        ids[:, 32:] = right
        losses[name] = float(model(torch.randn(1, 3, *size), targets=[make_target(size, [], semantic=ids)])["semantic"])
    assert losses["right"] < 1
    assert losses["swapped"] > 20
    assert losses["void"] == 0


def test_semantic_loss_is_that_of_upsampled_logits(model, make_target, monkeypatch):
    torch.manual_seed(0)
    ids = torch.randint(0, 3, (64, 96), dtype=torch.uint8)
    ids[:5] = 255
    seen = []
    head = model.semantic_head.forward
    monkeypatch.setattr(model.semantic_head, "forward", lambda levels: (seen.append(head(levels)), seen[-1])[1])
    loss = model.train()(torch.randn(1, 3, 64, 96), targets=[make_target((64, 96), [], semantic=ids)])["semantic"]
    wanted = torch.tensor([1, 0, 2, *[255] * 253])[ids.long()][None]
    full = F.interpolate(seen[0], size=(64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(loss, F.cross_entropy(full, wanted, ignore_index=255))


def test_labels_of_the_results_are_class_ids(tiny):
    model = tiny("panoptic_fpn", 4, things=(False, True, False, True))
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.5)
    with torch.no_grad():
        (found,) = model(torch.randn(1, 3, 64, 96))
    assert set(found["labels"].tolist()) == {1, 3}
    assert found["semantic"].shape == (3, 16, 24)


def test_instance_targets_are_the_things_in_order(tiny, make_target):
    model = tiny("panoptic_fpn", 4, things=(False, True, False, True)).train()
    seen = []
    model.roi_heads.forward = lambda f, p, s, targets, score, count: (seen.append(targets[0]["labels"].tolist()), {})[1]
    semantic = torch.zeros(64, 64, dtype=torch.uint8)
    model(torch.randn(1, 3, 64, 64), targets=[make_target((64, 64), [(0, 0, 9, 9), (9, 9, 30, 30)], [3, 1], semantic)])
    assert seen == [[2, 1]]  # inside the heads, 0 is the background


@pytest.mark.parametrize(
    ("labels", "semantic", "message"),
    [
        ([0], torch.zeros(64, 64, dtype=torch.uint8), r"targets\[1\]: object 0 has label 0, which is stuff"),
        ([3], torch.zeros(64, 64, dtype=torch.uint8), r"targets\[1\]: object 0 has label 3, expected 0 to 2"),
        ([1], None, r"targets\[1\].* of type NoneType, expected .* \(64, 64\)"),
        ([1], [[1]], r"targets\[1\].* of type list, expected .* \(64, 64\)"),
        ([1], torch.zeros(16, 16, dtype=torch.uint8), r"targets\[1\].* of \(16, 16\) .*, expected .* \(64, 64\)"),
        ([1], torch.full((64, 64), 0.5), r"targets\[1\].* of \(64, 64\) and torch.float32, expected integers"),
        ([1], torch.full((64, 64), 3, dtype=torch.uint8), r"targets\[1\].* value 3, .*0 to 2, or 255"),
        ([1], torch.full((64, 64), 202, dtype=torch.uint8), r"targets\[1\].* value 202, "),
        ([1], torch.full((64, 64), -1, dtype=torch.int64), r"targets\[1\].* value -1, "),
        ([1], torch.full((64, 64), 300, dtype=torch.int32), r"targets\[1\].* value 300, "),
    ],
)
def test_targets_are_checked(labels, semantic, message, model, make_target):
    good = make_target((64, 64), [], semantic=torch.zeros(64, 64, dtype=torch.uint8))
    bad = make_target((64, 64), [(3, 3, 40, 40)], labels, semantic)
    with pytest.raises(ValueError, match=message) as info:
        model.train()(torch.randn(2, 3, 64, 64), targets=[good, bad])
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("things", [None, (True, True, True), (False,) * 3, (True, False)])
def test_things_are_needed(things, tiny):
    with pytest.raises(ValueError, match="3 classes are things.* got (none|[0-9] things of [23])"):
        tiny("panoptic_fpn", 3, things=things)


def test_things_come_from_the_labels_and_are_saved(tmp_path):
    labels = LabelSet(("sky", "car", "road"), ((0, 0, 255), (9, 9, 9), (50, 50, 50)), THINGS)
    options = {"channels": 16, "box_channels": 16, "mask_layers": (16,), "semantic_channels": 8}
    model = srzoo.create_model("panoptic_fpn", backbone="test_resnet", labels=labels, **options)
    srzoo.save_model(model, tmp_path / "m.safetensors")
    loaded = srzoo.load_model(tmp_path / "m.safetensors")
    assert loaded.config.labels == labels
    assert (loaded.thing_ids, loaded.stuff_ids) == ((1,), (0, 2))
    turned = LabelSet(labels.classes[::-1], labels.palette[::-1], (True, False, False))
    for other in (turned, LabelSet(labels.classes, labels.palette)):
        with pytest.raises(ValueError, match=r"reset_classifier"):
            loaded.reconfigure(labels=other)
    renamed = LabelSet(("a", "b", "c"), labels.palette, THINGS)
    loaded.reconfigure(labels=renamed)
    assert loaded.config.labels == renamed
    loaded.reset_classifier(labels=turned)
    assert loaded.thing_ids == (0,)
    with pytest.raises(ValueError, match=re.escape("which of its 5 classes")):
        srzoo.create_model("panoptic_fpn", backbone="test_resnet", num_classes=5)


def test_semantic_head():
    """Shapes, and the number of convolutions: one at the two finest levels, then one more with each octave."""
    head = SemanticHead(4, 6, 8, 5).eval()
    assert [len(level) for level in head.levels] == [1, 1, 2, 3]
    levels = [torch.randn(2, 6, 32 // 2**i, 48 // 2**i) for i in range(4)]
    with torch.no_grad():
        found = head(levels)
        total = 0
        for i, (level, convs) in enumerate(zip(levels, head.levels)):
            for conv in convs:
                level = conv(level)
                level = F.interpolate(level, scale_factor=2, mode="bilinear") if i else level
            total = total + level
        assert found.shape == (2, 5, 32, 48)
        torch.testing.assert_close(found, head.classifier(total))


def test_gradient_reaches_every_level(model, make_target):
    model.train()
    semantic = torch.randint(0, 3, (64, 64), dtype=torch.uint8)
    loss = model(torch.randn(1, 3, 64, 64), targets=[make_target((64, 64), [], semantic=semantic)])["semantic"]
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.semantic_head.parameters())
    assert all(p.grad.any() for p in model.backbone.fpn.inner_blocks.parameters())
