"""Mask R-CNN against torchvision's with the same weights, in other precisions, with batch mates, and its parts."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torchvision import tv_tensors
from torchvision.models import resnet18
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

import srzoo
from srzoo.models import MaskRCNN, region_heads
from srzoo.models.cost import multiply_adds

CLASSES = 4
LOSSES = {"objectness", "rpn box", "class", "box", "mask"}


def torchvision_model() -> TorchvisionMaskRCNN:
    """torchvision's network with random weights, narrow, and without normalization."""
    torch.manual_seed(0)
    layers = {f"layer{i}": str(i - 1) for i in range(1, 5)}
    model = TorchvisionMaskRCNN(
        BackboneWithFPN(resnet18(), layers, [64, 128, 256, 512], out_channels=32),
        box_head=TwoMLPHead(32 * 49, 48),
        box_predictor=FastRCNNPredictor(48, 1 + CLASSES),
        mask_head=MaskRCNNHeads(32, (32, 32), 1),
        mask_predictor=MaskRCNNPredictor(32, 32, 1 + CLASSES),
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        _skip_resize=True,
    )
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 2)
    nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.5)
    nn.init.normal_(model.rpn.head.cls_logits.weight, std=0.3)
    return model.eval()


def ours_like(theirs: TorchvisionMaskRCNN) -> MaskRCNN:
    ours = MaskRCNN("resnet18", CLASSES, channels=32, box_channels=48, mask_layers=(32, 32)).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours


@pytest.mark.parametrize("size", [(128, 192), (96, 160)])  # the second is no multiple of the coarsest stride
def test_detections_are_torchvisions_bit_for_bit(size, monkeypatch):
    monkeypatch.setattr(region_heads, "_PART", 1 << 20)  # products of fewer rows may be rounded differently
    monkeypatch.setattr(region_heads, "_MASK_PART", 1 << 20)
    theirs = torchvision_model()
    ours = ours_like(theirs)
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        levels = theirs.backbone(x)
        proposals, _ = theirs.rpn(ImageList(x, [size] * 2), levels)
        wanted, _ = theirs.roi_heads(levels, proposals, [size] * 2)
        found = ours(x)
    for one, other in zip(found, wanted, strict=True):
        assert len(one["boxes"]) == len(other["boxes"]) > 20
        assert len(one["labels"].unique()) > 1
        assert torch.equal(one["boxes"], other["boxes"])
        assert torch.equal(one["scores"], other["scores"])
        assert torch.equal(one["labels"], other["labels"] - 1)  # background is no class of ours
        assert torch.equal(one["masks"], other["masks"][:, 0])


def test_losses_are_torchvisions(make_target):
    theirs = torchvision_model().train()
    ours = ours_like(theirs).train()
    targets = [
        make_target((128, 192), [(10, 20, 90, 70), (100, 5, 192, 128), (0, 0, 30, 21)], [0, 3, 1]),
        make_target((128, 192), [(50, 60, 150, 128)], [2]),
    ]
    dense = [
        {
            "boxes": each["boxes"],
            "labels": each["labels"] + 1,
            "masks": torch.stack([each["masks"].full(i) for i in range(len(each["masks"]))]),
        }
        for each in targets
    ]
    x = torch.randn(2, 3, 128, 192)
    torch.manual_seed(1)
    wanted = theirs(list(x), dense)
    torch.manual_seed(1)
    losses = ours(x, targets=targets)
    names = {
        "objectness": "loss_objectness",
        "rpn box": "loss_rpn_box_reg",
        "class": "loss_classifier",
        "box": "loss_box_reg",
        "mask": "loss_mask",
    }
    assert set(losses) == set(names)
    for name, other in names.items():
        # torchvision takes as many samples of a mask as fit, we take two by two.
        tolerance = 2e-3 if name == "mask" else 1e-6
        assert wanted[other] > 0
        assert losses[name].item() == pytest.approx(wanted[other].item(), rel=tolerance), name


@pytest.mark.slow
def test_published_network_of_torchvision():
    """With 81 classes srzoo's network has the names, number of parameters and detections of torchvision's."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81).eval()
    nn.init.normal_(theirs.roi_heads.box_predictor.cls_score.weight, std=0.1)
    ours = srzoo.create_model("mask_rcnn_r50_coco").eval()
    ours.load_state_dict(theirs.state_dict())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    x = torch.rand(1, 3, 160, 224)
    with torch.no_grad():
        levels = theirs.backbone(x)
        (wanted,), _ = theirs.roi_heads(levels, theirs.rpn(ImageList(x, [(160, 224)]), levels)[0], [(160, 224)])
        (found,) = ours(x)
    assert len(found["boxes"]) == len(wanted["boxes"]) > 0
    assert torch.equal(found["boxes"], wanted["boxes"])
    assert torch.equal(found["masks"], wanted["masks"][:, 0])


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("mask_rcnn_r50_coco", 44.401),
        ("mask_rcnn_r101_coco", 63.393),
        ("mask_rcnn_x101_coco", 63.021),
        ("cascade_mask_rcnn_x101_coco", 95.946),
        ("panoptic_fpn_r50_coco", 46.031),
        ("panoptic_fpn_r101_coco", 65.024),
    ],
)
def test_number_of_parameters(name, millions):
    with torch.device("meta"):
        model = srzoo.create_model(name)
        with_block = srzoo.create_model(f"srnet_{name}")
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == millions
    if "x101" not in name:
        added = sum(p.numel() for p in with_block.parameters()) / 1e6 - millions
        assert added == pytest.approx(0.591, abs=2e-3)


def test_parts_have_the_sizes_of_the_paper():
    with torch.device("meta"):
        model = srzoo.create_model("panoptic_fpn_r50_coco")
        one_mask_head = srzoo.create_model("cascade_mask_rcnn_x101_coco", mask_stages=1)
    parts = {
        "body": model.backbone.body,
        "fpn": model.backbone.fpn,
        "rpn": model.rpn,
        "box": nn.ModuleList([model.roi_heads.box_head, model.roi_heads.box_predictor]),
        "mask": nn.ModuleList([model.roi_heads.mask_head, model.roi_heads.mask_predictor]),
        "semantic": model.semantic_head,
    }
    sizes = {name: round(sum(p.numel() for p in part.parameters()) / 1e6, 3) for name, part in parts.items()}
    assert sizes == {"body": 23.508, "fpn": 3.344, "rpn": 0.594, "box": 14.311, "mask": 2.644, "semantic": 1.631}
    assert round(sum(p.numel() for p in one_mask_head.parameters()) / 1e6, 3) == 90.659


NETWORKS = ["mask_rcnn", "cascade_mask_rcnn", "panoptic_fpn"]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("context", ["none", "sr", "nl"])
def test_trains_with_and_without_objects(network, context, tiny, make_target):
    model = tiny(network, context=context, **({"nodes": 4} if context == "sr" else {})).train()
    semantic = torch.ones(96, 128, dtype=torch.uint8)
    targets = [make_target((96, 128), [(5, 6, 60, 50)], [2], semantic), make_target((96, 128), [], None, semantic)]
    targets[1]["boxes"] = torch.zeros(0)  # as people store them
    losses = model(torch.randn(2, 3, 96, 128), targets=targets)
    assert set(losses) == LOSSES | ({"semantic"} if network == "panoptic_fpn" else set())
    assert all(loss.isfinite() and loss.dtype == torch.float32 and loss.dim() == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32])
def test_masks_as_torchvision_takes_them(dtype, tiny, make_target):
    model, x = tiny().train(), torch.randn(1, 3, 96, 128)
    own = make_target((96, 128), [(5, 6, 60, 50), (30, 20, 90, 90)], [2, 0])
    masks = torch.stack([own["masks"].full(i) for i in range(2)])
    both = []
    for each in (own, {**own, "masks": tv_tensors.Mask(masks.to(dtype)), "image_id": 3}):
        torch.manual_seed(0)
        both.append(model(x, targets=[each]))
    assert both[0] == both[1] and both[0]["mask"] > 0


@pytest.mark.parametrize("network", NETWORKS)
def test_trains_on_a_batch_without_any_object(network, tiny, make_target):
    model = tiny(network).train()
    target = make_target((64, 64), [], semantic=torch.full((64, 64), 255, dtype=torch.uint8))
    losses = model(torch.randn(1, 3, 64, 64), targets=[target])
    assert losses["box"] == losses["mask"] == losses["rpn box"] == 0
    assert losses["class"] > 0 and losses["objectness"] > 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_mask_head_does_not_run_on_no_region(tiny, make_target):
    """Compiled convolutions fail on it; the parameters have a gradient all the same, which DDP waits for."""
    model = tiny("mask_rcnn").train()
    model.roi_heads.mask_head.register_forward_pre_hook(lambda *args: pytest.fail("it ran"))
    losses = model(torch.randn(1, 3, 64, 64), targets=[make_target((64, 64), [])])
    losses["mask"].backward()
    assert all(not p.grad.any() for p in model.roi_heads.mask_predictor.parameters())


def confident(model: nn.Module) -> nn.Module:
    """The same network with larger scores, so that it detects something, and boxes that move."""
    torch.manual_seed(3)
    for part in model.modules():
        if isinstance(part, FastRCNNPredictor):
            nn.init.normal_(part.cls_score.weight, std=0.3)
            nn.init.normal_(part.bbox_pred.weight, std=0.05)
    return model


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("mode", ["float16", "bfloat16", "autocast"])
def test_boxes_and_scores_are_float32_in_any_precision(network, mode, tiny):
    """On the same proposals; 300 pixels off the origin, bfloat16 boxes would be off by a pixel or two."""
    model = confident(tiny(network))
    x = torch.randn(1, 3, 320, 384)
    proposals = [torch.tensor([[300.3, 200.7, 371.1, 290.2], [10.2, 20.4, 350.6, 300.9], [301.7, 3.3, 340.2, 18.8]])]

    def raw(dtype=torch.float32):
        levels = model.to(dtype).backbone(x.to(dtype))
        return model.roi_heads.detect([levels[name] for name in model.backbone.level_names], proposals, [(320, 384)])[0]

    with torch.no_grad():
        wanted = raw()
        dtype = torch.float32 if mode == "autocast" else getattr(torch, mode)
        with torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"):
            found = raw(dtype)
            (whole,) = model(x.to(dtype))
    for result in (found, whole):
        dtypes = {value.dtype for key, value in result.items() if key not in ("labels", "semantic")}
        assert dtypes == {torch.float32}
    assert len(whole["boxes"]) > 0 and whole["masks"].isfinite().all()
    near = torch.cdist(found["boxes"], wanted["boxes"], p=float("inf")).min(1).values
    assert len(near) > 2
    assert near.max() < 0.5


def test_an_image_beside_another(tiny):
    """Nothing is found in the padding; and one of the same size changes nothing but the last bits."""
    model = confident(tiny())
    small, large = torch.randn(1, 3, 96, 128), torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        (alone,) = model(small)
        pair = torch.cat([torch.nn.functional.pad(small, (0, 0, 0, 32)), large])
        beside = model(pair, [(96, 128), (128, 128)])[0]
        twice = model(torch.cat([small, small.flip(3)]))[0]
    assert len(beside["boxes"]) > 0
    assert beside["boxes"][:, 3].max() <= 96
    for key, value in alone.items():
        torch.testing.assert_close(twice[key], value, atol=1e-3, rtol=0)


def test_padding_that_it_needs_is_its_own_affair(tiny):
    """A side that is no multiple of the stride gives the result of the image that was padded beforehand."""
    model = confident(tiny())
    x = torch.randn(1, 3, 90, 117)
    with torch.no_grad():
        (found,) = model(x)
        (padded,) = model(torch.nn.functional.pad(x, (0, 11, 0, 6)), [(90, 117)])
    assert len(found["boxes"]) > 0
    assert all(torch.equal(found[key], padded[key]) for key in found)
    assert found["boxes"][:, 2].max() <= 117 and found["boxes"][:, 3].max() <= 90


def test_masks_are_computed_for_the_kept_detections_alone(tiny, monkeypatch):
    model = confident(tiny())
    x = torch.randn(1, 3, 128, 128)
    rows = []
    head = model.roi_heads.mask_head.forward
    monkeypatch.setattr(
        model.roi_heads.mask_head, "forward", lambda pooled: (rows.append(len(pooled)), head(pooled))[1]
    )
    with torch.no_grad():
        (every,) = model(x)
        score = float(every["scores"][4])
        (some,) = model(x, score=score)
        (none,) = model(x, score=1.0)
    assert sum(rows) == len(every["scores"]) + 5 and rows[-1] == 5
    assert torch.equal(some["scores"], every["scores"][:5])
    torch.testing.assert_close(some["masks"], every["masks"][:5])
    assert none["masks"].shape == (0, 28, 28) and none["boxes"].shape == (0, 4)


def test_frozen_statistics_and_stages(tiny, make_target):
    model = tiny(context="sr", nodes=4)
    model.freeze_statistics()
    model.freeze_stages(2)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = sum(model(torch.randn(2, 3, 64, 64), targets=[make_target((64, 64), [(8, 8, 40, 40)])] * 2).values())
    loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    fixed = {name for name, p in model.named_parameters() if p.grad is None}
    assert {name.split(".")[2] for name in fixed} == {"conv1", "bn1", "layer1", "layer2"}
    assert all(name.startswith("backbone.body.") for name in fixed)
    model.freeze_statistics(False)
    model(torch.randn(2, 3, 64, 64), targets=[make_target((64, 64), [])] * 2)
    moved = {name.split(".")[2] for name, value in model.named_buffers() if not torch.equal(value, before[name])}
    assert moved == {"layer3", "layer4"}  # those of the frozen stages stay


def test_stages_frozen_in_training_leave_the_statistics_frozen(tiny):
    model = tiny()
    model.freeze_statistics()
    model.train()
    model.freeze_stages(1)
    norms = [part for part in model.backbone.body.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms and not any(part.training for part in norms)
    assert model.rpn.training


def test_number_of_stages_is_checked(tiny):
    with pytest.raises(ValueError, match=r"frozen_stages=5.* 4 stages"):
        tiny().freeze_stages(5)


def test_stride_in_the_first_convolution(tiny):
    model, other = tiny(backbone="resnet26", stride_in_1x1=True), tiny(backbone="resnet26")
    assert model.backbone.body.layer3[0].conv1.stride == (2, 2)
    assert model.backbone.body.layer3[0].conv2.stride == (1, 1)
    assert model.state_dict().keys() == other.state_dict().keys()
    x = torch.randn(1, 3, 64, 96)
    assert {k: v.shape for k, v in model.backbone(x).items()} == {k: v.shape for k, v in other.backbone(x).items()}
    with pytest.raises(ValueError, match="stride_in_1x1.*'test_efficientnet'"):
        tiny(backbone="test_efficientnet", stride_in_1x1=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"box_channels": 0}, "box_channels"),
        ({"mask_layers": (16, 0)}, "mask_layers"),
        ({"aligned": 1}, "aligned"),
        ({"anchor_scale": 0}, "anchor_scale .*1, got 0"),
        ({"anchor_scale": float("inf")}, "anchor_scale .*inf"),
        ({"anchor_offset": "0.5"}, "anchor_offset .*'0.5'"),
        ({"sampling": -1}, "sampling .*0, got -1"),
        ({"box_beta": -1}, "box_beta .*0, got -1"),
        ({"box_beta": float("nan")}, "box_beta .*nan"),
        ({"nodes": 4}, "context='none'.*nodes"),
        ({"context": "sr", "context_places": ("layer9",)}, "layer9"),
        ({"backbone": "resnet17"}, "resnet17"),
    ],
)
def test_invalid_options(options, message, tiny):
    with pytest.raises(ValueError, match=message) as info:
        tiny(**options)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("network", ["mask_rcnn", "panoptic_fpn"])
def test_torch_export_of_a_detector_is_told_what_exports_it(network, tiny):
    with pytest.raises(RuntimeError, match=r"srzoo\.export_program"):
        torch.export.export(tiny(network), (torch.randn(1, 3, 64, 96),))


def test_block_starts_as_the_identity(tiny):
    model, plain = tiny(context="sr", nodes=4), tiny()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if ".context." not in k})
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for name, value in model.backbone(x).items():
            torch.testing.assert_close(value, plain.backbone(x)[name])


def test_pretrained_parameters_are_those_of_the_backbone(tiny):
    model = tiny(context="sr", nodes=4)
    names = {id(p): name for name, p in model.named_parameters()}
    slow = [names[id(p)] for p in model.pretrained_parameters()]
    assert len(slow) == len(list(tiny().backbone.body.parameters()))
    assert not any(".context." in name or ".fpn." in name for name in slow)


def test_cost_of_the_parts():
    """At 1216x800 with 1000 regions for boxes and 100 for masks, by hand from the shapes of the layers after layer4."""
    with torch.device("meta"):
        model = srzoo.create_model("mask_rcnn_r50_coco")
        body = model.backbone.body
        backbone = multiply_adds(lambda: body(torch.empty(1, 3, 800, 1216)))
    assert backbone / 1e9 == pytest.approx(79.24, abs=0.01)
    cells = [200 * 304, 100 * 152, 50 * 76, 25 * 38]
    pyramid = sum(n * 256 * (channels + 9 * 256) for n, channels in zip(cells, (256, 512, 1024, 2048)))
    rpn = (sum(cells) + 13 * 19) * 256 * (9 * 256 + 3 + 12)
    box = 1000 * (256 * 49 * 1024 + 1024 * 1024 + 1024 * 5 * 81)
    mask = 100 * (196 * 256 * 256 * (4 * 9 + 4) + 784 * 256 * 81)
    assert model.cost((800, 1216)) == model.cost((790, 1200)) == backbone + pyramid + rpn + box + mask


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 1, 64, 64), r"\(N, 3, H, W\), got \(1, 1, 64, 64\)"),
        (torch.zeros(1, 4, 64, 64), r"got \(1, 4, 64, 64\)"),
        (torch.zeros(3, 64, 64), r"got \(3, 64, 64\); .*Segmenter"),
        ([torch.zeros(3, 64, 64)], r"\(N, 3, H, W\), got a list; .*Segmenter"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), r"torch\.uint8.*normalize"),
        (torch.zeros(1, 3, 1, 500), r"at least 32, got \(1, 500\)"),
        (torch.full((1, 3, 64, 64), float("nan")), r"finite: in image 0 "),
    ],
)
def test_images_that_torchvision_takes_or_fails_on(x, message, tiny):
    with pytest.raises(ValueError, match=message) as info:
        tiny()(x)
    assert "\n" not in str(info.value)


def test_least_score_and_number_of_detections(tiny):
    model, x = confident(tiny("mask_rcnn")).eval(), torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        model.roi_heads.score_thresh, model.roi_heads.detections_per_img = 0.9, 2
        (few,), (many,) = model(x), model(x, score=0.0, count=500)
        (above,) = model(x, score=float(many["scores"][4]), count=500)
    assert len(few["scores"]) <= 2 < len(many["scores"])
    assert len(above["scores"]) == 5 == len(above["masks"])


@pytest.mark.parametrize(
    ("least", "message"),
    [({"score": float("nan")}, "score .*nan"), ({"score": "0.5"}, "score .*'0.5'"), ({"count": -1}, "count .*-1")],
)
def test_invalid_least_scores_and_numbers_of_detections(least, message, tiny):
    with pytest.raises(ValueError, match=message):
        tiny("mask_rcnn").eval()(torch.randn(1, 3, 32, 32), **least)


@pytest.mark.parametrize(
    "sizes",
    [[(96, 128)], [(96, 128), (97, 128)], [(96, 128), (0, 128)], (96, 128), 96, [(96, 128, 3)] * 2, [("a", 1)] * 2],
)
def test_sizes_of_images_that_do_not_fit(sizes, tiny):
    with pytest.raises(ValueError, match=r"2 sizes .*\(96, 128\)"):
        tiny("mask_rcnn").eval()(torch.randn(2, 3, 96, 128), sizes)


@pytest.mark.parametrize("kind", [torch.tensor, np.array, lambda sizes: [np.array(each) for each in sizes]])
def test_sizes_of_images_as_arrays(kind, tiny):
    model, x = tiny("mask_rcnn").eval(), torch.rand(2, 3, 64, 96)
    sizes = [(64, 96), (40, 50)]
    expected, found = (model(x, image_sizes=each) for each in (sizes, kind(sizes)))
    assert all(torch.equal(one["boxes"], two["boxes"]) for one, two in zip(expected, found))


def test_targets_in_the_place_of_sizes(tiny, make_target):
    """As for torchvision's detectors, whose second argument they are."""
    with pytest.raises(ValueError, match="targets=targets"):
        tiny("mask_rcnn").train()(torch.randn(1, 3, 96, 128), [make_target((96, 128), [])])


@pytest.mark.parametrize("context", ["none", "sr"])
def test_parts_compile_without_a_graph_break_at_two_sizes(context, tiny):
    """Backbone, pyramid and heads; suppression and RoIAlign stay eager."""
    torch._dynamo.reset()
    model = tiny("mask_rcnn", context=context).eval()
    heads, counter = model.roi_heads, CompileCounterWithBackend("eager")
    backbone = torch.compile(model.backbone, fullgraph=True, backend=counter)
    head = torch.compile(lambda levels: model.rpn.head(levels), fullgraph=True, backend="eager")
    box = torch.compile(lambda pooled: heads.box_predictor(heads.box_head(pooled)), fullgraph=True, backend="eager")
    for size in ((64, 96), (96, 128), (128, 160)):
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            found, expected = backbone(x), model.backbone(x)
            for name, level in expected.items():
                torch.testing.assert_close(found[name], level)
            levels = list(expected.values())
            torch.testing.assert_close(head(levels), model.rpn.head(levels))
    assert counter.frame_count <= 2  # one for the first size, one for all others
    pooled = torch.randn(5, levels[0].shape[1], 7, 7)
    torch.testing.assert_close(box(pooled), heads.box_predictor(heads.box_head(pooled)))


def test_images_that_are_not_normalized_are_refused(make_target):
    """torchvision's detectors normalize inside, and losses of thousands were all that told."""
    options = {"channels": 16, "box_channels": 24, "mask_layers": (16,), "pretrained_backbone": False}
    model = srzoo.create_model("mask_rcnn", backbone="test_resnet", num_classes=2, **options).eval()
    targets = [make_target((64, 64), [(4, 4, 40, 40)])]
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    images[0, 0, 0, 0] = 255
    for train in (True, False):
        model.train(train)
        call = {"targets": targets} if train else {}
        with pytest.raises(ValueError, match=r"up to 255, .*within 1; .*normalize"):
            model(images.float(), **call)
        model(model.config.transform.normalize(images), **call)
    own = dataclasses.replace(model.config.transform, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    model.reconfigure(transform=own)
    model(images.float())
    bands = srzoo.create_model("mask_rcnn", backbone="test_resnet", num_classes=2, in_channels=4, **options).eval()
    bands(torch.full((1, 4, 64, 64), 80.0))  # such as a depth in metres
